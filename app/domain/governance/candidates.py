"""The gate's inputs: the candidates, and the versions that they are compared with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from app.domain.evidence.evaluation import Evaluation
from app.domain.governance.policies import Contributor
from app.domain.naming import Json


@dataclass(frozen=True, slots=True)
class VersionRef:
    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """The number of a content among the `total` contents of its prefix that a suite measured.

    They are numbered in the order of their first evaluations.
    """

    number: int
    total: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A fact of a candidate's record that reviewers should know, as a sentence."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version whose share would grow, with the gate's input about it.

    Attributes:
        authors: The principals that pushed its content, to any prefix.
        evaluations: Those of its content, in any prefix, that are not void.
        attempts: For each suite version, as `name@version`: which of the prefix's contents that
            were measured on it this one is.
        notices: What reviewers should know of its record.
    """

    ref: VersionRef
    content: str
    peft_type: str
    virtual_tokens: int
    parameter_fraction: float
    card: Mapping[str, Json]
    namespace: str
    authors: frozenset[UUID]
    owner_id: UUID
    evaluations: tuple[Evaluation, ...]
    base_model: str
    control_runs: tuple[Evaluation, ...] = ()
    attempts: Mapping[str, Attempt] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    def is_contributor(self, principal_id: UUID, roles: Iterable[Contributor]) -> bool:
        """Return whether the principal is an author or the owner and `roles` names that role."""
        ids = {Contributor.AUTHOR: self.authors, Contributor.OWNER: {self.owner_id}}
        return any(principal_id in ids.get(role, ()) for role in roles)


@dataclass(frozen=True, slots=True)
class Incumbent:
    """A version that a candidate is compared with, and the evaluations of its content."""

    ref: VersionRef
    content: str
    evaluations: tuple[Evaluation, ...] = ()
