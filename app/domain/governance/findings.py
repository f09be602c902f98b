"""Findings: the gate's results for single demands."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal
from uuid import UUID

Demand = Literal["fact", "samples", "at_least", "at_most", "incumbent", "base"]


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    MISSING = "missing"
    NOT_APPLICABLE = "not-applicable"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class CellRef:
    persona: str
    locale: str


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one demand; `bound` is the confidence bound compared with `demanded`.

    A comparison's `observed`, `bound` and `demanded` are differences, candidate - reference. A
    notice is no demand: it is what reviewers should know.

    Attributes:
        samples: Independent samples: clusters, over all runs.
        evaluation: The latest run that qualified.
        runs: How many runs qualified.
        level: The least evidence level among them.
        looks: How many looks at the cell there were, up to the one that passed.
        look: The look whose `bound` is shown: the one that passed, otherwise the last.
        confidence: That of the look, 1 - its share of the rule's level.
    """

    rule: str
    version: int
    outcome: Outcome
    message: str
    cell: CellRef | None = None
    demand: Demand | None = None
    observed: float | None = None
    bound: float | None = None
    demanded: float | None = None
    margin: float | None = None
    samples: int | None = None
    evaluation: UUID | None = None
    runs: int | None = None
    level: int | None = None
    looks: int | None = None
    look: int | None = None
    confidence: float | None = None

    @property
    def blocks(self) -> bool:
        """Whether the finding keeps the gate closed; a demand that does not apply never does."""
        return self.outcome in (Outcome.FAILED, Outcome.MISSING)
