"""An evaluator's report of a run: its suite, its artifact and its results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.errors import Fault, InvalidEvaluationError
from app.domain.evidence.evaluation import CellResult
from app.domain.evidence.measured import Measured
from app.domain.naming import Json


@dataclass(frozen=True, slots=True)
class Claim:
    """The suite version and the artifact, by digest, that a run claims to have evaluated."""

    suite: str
    suite_version: str
    digest: str

    @property
    def suite_name(self) -> str:
        return f"{self.suite}@{self.suite_version}"


@dataclass(frozen=True, slots=True)
class Report:
    """The circumstances of a run, and its results.

    Attributes:
        partial_reasons: Why the run is incomplete, in sentences; empty if it is complete.
        results: Aggregates. They are optional if samples are sent, and must agree with them.
        sparse: Whether samples may lack metrics, because several tasks or filters share a
            persona; then only `partial_reasons` mention samples without a score.
        measured: The model that an imported log names; None for the registry's own form.
    """

    harness: Mapping[str, Json]
    settings: Mapping[str, Json]
    started_at: datetime
    finished_at: datetime
    partial_reasons: Sequence[str] = ()
    results: Sequence[CellResult] = ()
    sparse: bool = False
    measured: Measured | None = None


def refused(faults: Sequence[Fault]) -> InvalidEvaluationError:
    """Return the refusal of an evaluation with all its faults."""
    return InvalidEvaluationError("The evaluation is refused; see faults.", faults)


def require_faultless(faults: Sequence[Fault]) -> None:
    """Raise InvalidEvaluationError with all the faults if there are any."""
    if faults:
        raise refused(faults)
