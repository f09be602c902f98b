"""What an evaluator reports of a run: on which suite and artifact, and what it measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.errors import Fault, InvalidEvaluationError
from app.domain.evidence.evaluation import CellResult
from app.domain.naming import Json


@dataclass(frozen=True, slots=True)
class Claim:
    """Of which suite version a run is, and on which artifact, by digest."""

    suite: str
    suite_version: str
    digest: str

    @property
    def suite_name(self) -> str:
        return f"{self.suite}@{self.suite_version}"


@dataclass(frozen=True, slots=True)
class Report:
    """How a run was made, and what it measured.

    Attributes:
        partial_reasons: Why the run has not measured the whole, in sentences; empty if it has.
        results: Aggregates. With samples they may be left out; if given, they must agree.
        sparse: Whether a sample need not have every metric, because several tasks or filters
            share a persona; then a sample without a score is told by `partial_reasons` alone.
    """

    harness: Mapping[str, Json]
    settings: Mapping[str, Json]
    started_at: datetime
    finished_at: datetime
    partial_reasons: Sequence[str] = ()
    results: Sequence[CellResult] = ()
    sparse: bool = False


def refused(faults: Sequence[Fault]) -> InvalidEvaluationError:
    """Return the refusal of an evaluation for everything that is wrong with it."""
    return InvalidEvaluationError("The evaluation is refused; see faults.", faults)


def require_none(faults: Sequence[Fault]) -> None:
    """Raise InvalidEvaluationError with all the faults, if there are any."""
    if faults:
        raise refused(faults)
