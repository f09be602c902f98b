"""Evaluations: their cells, and the checks of reported results against a suite."""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.domain.errors import Fault
from app.domain.evidence.suites import Metric, MetricKind, Suite


class EvidenceKind(StrEnum):
    """Whether the cells were recomputed from one row per sample, or only reported."""

    SAMPLES = "samples"
    AGGREGATES = "aggregates"


@dataclass(frozen=True, slots=True, order=True)
class CellKey:
    metric: str
    persona: str
    locale: str

    def __str__(self) -> str:
        return f"{self.metric} for {self.persona}/{self.locale}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One aggregate: `samples` is n, `stderr` the standard error of the mean if it is known."""

    samples: int
    mean: float
    stderr: float | None = None


@dataclass(frozen=True, slots=True)
class CellResult:
    """The result that an evaluator reports for one cell."""

    key: CellKey
    cell: Cell


@dataclass(slots=True)
class Scores:
    """The samples of one cell: `keys[i]` names the sample that scored `values[i]`.

    A key is 64 bits of a hash over a sample's id and its prompt's hash, so two runs pair only
    where both agree. `clusters[i]` names the samples that are not independent of it in the same
    way: those of the same prompt.
    """

    keys: "array[int]" = field(default_factory=lambda: array("Q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))
    clusters: "array[int]" = field(default_factory=lambda: array("Q"))

    def cell(self) -> Cell:
        """Return n, mean and standard error, summed exactly, so row order does not matter."""
        n, mean = len(self.values), exact_mean(self.values)
        if n == 1:
            return Cell(n, mean)
        squares = math.fsum((value - mean) ** 2 for value in self.values)
        return Cell(n, mean, math.sqrt(squares / (n - 1) / n))


def exact_mean(values: Sequence[float]) -> float:
    """Return the mean, independent of the order of the values and always within their range.

    Division rounds: 30 times 0.1 must give 0.1, otherwise equal scores would seem to have a spread.
    """
    mean = math.fsum(values) / len(values)
    return min(max(mean, min(values)), max(values))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One dated, immutable set of cells for one artifact by one suite version.

    `scope` is the namespace in which the evaluator held the role, or `*` for all of them. `level`
    says how much the registry itself knows of the run (docs/concepts/evidence.md).
    `scores` holds the samples of the cells that a policy compares; otherwise it is empty.
    """

    id: UUID
    digest: str
    suite: Suite
    kind: EvidenceKind
    partial: bool
    evaluator_id: UUID
    scope: str
    level: int
    finished_at: datetime
    recorded_at: datetime
    cells: Mapping[CellKey, Cell]
    scores: Mapping[CellKey, Scores] = field(default_factory=dict)


# Reported values are rounded: 0.333 of 3 samples is one success. Evaluation tools print three
# decimals, so they are off by up to half a unit in the third.
_ROUNDING = 5e-4


def result_faults(suite: Suite, results: Sequence[CellResult]) -> tuple[Fault, ...]:
    """Return every contradiction between the results and the suite."""
    faults = list(_duplicates(results))
    for result in results:
        faults += _cell_faults(suite, result)
    return tuple(faults)


def _duplicates(results: Iterable[CellResult]) -> Iterable[Fault]:
    seen: set[CellKey] = set()
    for result in results:
        if result.key in seen:
            yield Fault("cell-repeated", f"{result.key} is reported twice; report it once.")
        seen.add(result.key)


def _cell_faults(suite: Suite, result: CellResult) -> Iterable[Fault]:
    key, cell = result.key, result.cell
    if key.persona not in suite.personas:
        yield Fault("unknown-persona", _unknown("persona", key.persona, suite, suite.personas))
    if key.locale not in suite.locales:
        yield Fault("unknown-locale", _unknown("locale", key.locale, suite, suite.locales))
    if cell.samples < 1:
        yield Fault("no-samples", f"{key} has no samples; leave the cell out.")
    if cell.stderr is not None and not (math.isfinite(cell.stderr) and cell.stderr >= 0):
        yield Fault("stderr-out-of-range", f"The stderr of {key} must be finite and at least 0.")
    metric = suite.metric(key.metric)
    if metric is None:
        names = [metric.name for metric in suite.metrics]
        yield Fault("unknown-metric", _unknown("metric", key.metric, suite, names))
    else:
        yield from _value_faults(metric, key, cell)


def _value_faults(metric: Metric, key: CellKey, cell: Cell) -> Iterable[Fault]:
    if not metric.admits(cell.mean):
        low, high = metric.range
        message = f"The value of {key} is {cell.mean}; it must lie in [{low:g}, {high:g}]."
        yield Fault("value-out-of-range", message)
    elif metric.kind is MetricKind.PROPORTION and possible_successes(cell) is None:
        message = (
            f"{key}: {cell.mean} of {cell.samples} samples is not a whole number of successes; "
            "a proportion scores each sample 0 or 1."
        )
        yield Fault("not-a-proportion", message)


def possible_successes(cell: Cell) -> tuple[int, int] | None:
    """Return the fewest and the most successes that a reported proportion can stand for.

    An exact value stands for one count; a rounded one for every count that rounds to it, so
    that a gate can use the count that is worse for the candidate. None if it is no proportion.
    """
    if not 0 <= cell.mean <= 1:  # NaN fails this comparison too
        return None
    product = cell.mean * cell.samples
    if math.isclose(product, round(product), rel_tol=1e-9, abs_tol=1e-6):
        return round(product), round(product)
    slack = _ROUNDING * cell.samples
    fewest, most = math.ceil(product - slack), math.floor(product + slack)
    return (max(fewest, 0), min(most, cell.samples)) if fewest <= most else None


def _unknown(kind: str, name: str, suite: Suite, known: Iterable[str]) -> str:
    return f"{suite} has no {kind} {name}; it has {', '.join(known)}."
