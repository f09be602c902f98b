"""Looks: one test of a cell over all runs, each time a run is added, at a level of its own.

The looks of a cell spend its level together (docs/concepts/statistics.md). Passing at one of them
is enough, so an honest repetition costs nothing; stopping at the luckiest one gains nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from app.domain.evidence.evaluation import CellKey, Evaluation, possible_successes
from app.domain.evidence.pooling import Pool, pooled
from app.domain.evidence.suites import Metric, MetricKind
from app.domain.statistics import betting, paired, proportions
from app.domain.statistics.levels import Demand, level, rounded
from app.domain.statistics.spending import attempt_alpha, look_alpha

# The twentieth look has 1/3000 of the level of the first: a later one could hardly pass, and the
# work of a gate stays bounded.
MOST_LOOKS: Final = 20

_Run = TypeVar("_Run")


@dataclass(frozen=True, slots=True)
class Looks:
    """The tests of one demand.

    `shown` is the first look that passed, or the last one if none did; None without a look.
    """

    count: int
    passed: bool
    shown: "Look | None"


@dataclass(frozen=True, slots=True)
class Look:
    """One test: its number, its confidence, and the bound at that confidence."""

    number: int
    confidence: float
    bound: float


def spent(confidence: float, attempt: int | None) -> float:
    """Return the level of a cell, or of one attempt if the policy divides it among attempts."""
    alpha = level(confidence)
    return alpha if attempt is None else attempt_alpha(alpha, attempt)


def looked(
    runs: Sequence[_Run],
    is_testable: Callable[[Sequence[_Run]], bool],
    bound_of: Callable[[Sequence[_Run], float], float | None],
    alpha: float,
    passes: Callable[[float], bool],
) -> Looks:
    """Test the pool of the first run, of the first two, and so on, until a look passes.

    Args:
        runs: The runs, in the order in which they were recorded.
        is_testable: Whether runs have enough samples, of any age. Otherwise there is no look, and
            nothing is spent, because their number decides it and not their scores.
        bound_of: Returns the bound at a confidence; None if too few of the runs are recent now.
        alpha: The level of all looks together.
        passes: Whether a bound keeps the limit.
    """
    count, shown = 0, None
    for number in range(1, len(runs) + 1):
        if not is_testable(runs[:number]):
            continue
        count += 1
        confidence = rounded(1 - look_alpha(alpha, count))
        bound = bound_of(runs[:number], confidence)
        if bound is not None:
            shown = Look(count, confidence, bound)
            if passes(bound):
                return Looks(count, passed=True, shown=shown)
        if count == MOST_LOOKS:
            break
    return Looks(count, passed=False, shown=shown)


@dataclass(frozen=True, slots=True)
class Counts:
    """A proportion as evaluators reported it: without samples there is nothing to pool."""

    successes: int
    n: int

    @property
    def mean(self) -> float:
        return self.successes / self.n


def evidence_of(
    metric: Metric, runs: Sequence[Evaluation], key: CellKey, side: Demand
) -> Pool | Counts | None:
    """Return the evidence of runs on a cell, which is a pool if all of them have samples.

    Otherwise it is what the reports of a proportion show at the worst, taken together. Reports may
    be of the same prompts, so together they have as many samples as the largest of them. None if
    there is nothing that a test can use.
    """
    if all(key in run.scores for run in runs):
        return pooled([run.scores[key] for run in runs])
    if metric.kind is MetricKind.MEAN:
        return None
    cells = [run.cells[key] for run in runs]
    counts = [possible_successes(cell) for cell in cells]
    if None in counts:
        return None
    worst = 0 if side == "at_least" else 1
    successes = sum(each[worst] for each in counts if each is not None)
    n, total = max(cell.samples for cell in cells), sum(cell.samples for cell in cells)
    share = successes * n // total if side == "at_least" else -(-successes * n // total)
    return Counts(share, n)


def bound(metric: Metric, evidence: Pool | Counts, confidence: float, side: Demand) -> float:
    """Return the one-sided bound on a cell's true value.

    A proportion with one score for each cluster is tested exactly; anything else is bounded by
    betting, which needs no more than the range.
    """
    if isinstance(evidence, Counts):
        return _exact(evidence.successes, evidence.n, confidence, side)
    if metric.kind is MetricKind.PROPORTION and not evidence.repeated:
        return _exact(round(sum(evidence.values)), evidence.n, confidence, side)
    return _by_betting(evidence, *metric.range, confidence, side)


def difference_bound(metric: Metric, pool: Pool, confidence: float, side: Demand) -> float:
    """Return the one-sided bound on a true difference from a pool of differences."""
    if metric.kind is MetricKind.PROPORTION and not pool.repeated:
        wins = sum(1 for value in pool.values if value > 0)
        losses = sum(1 for value in pool.values if value < 0)
        counts = paired.PairedCounts(pool.n - wins - losses, wins, losses, 0)
        bound_of = paired.lower_bound if side == "at_least" else paired.upper_bound
        return bound_of(counts, confidence)
    low, high = metric.range
    return _by_betting(pool, low - high, high - low, confidence, side)


def _exact(successes: int, n: int, confidence: float, side: Demand) -> float:
    bound_of = proportions.lower_bound if side == "at_least" else proportions.upper_bound
    return bound_of(successes, n, confidence)


def _by_betting(pool: Pool, low: float, high: float, confidence: float, side: Demand) -> float:
    counted = betting.histogram(pool.values, low, high, side)
    bound_of = betting.lower_bound if side == "at_least" else betting.upper_bound
    return bound_of(counted, confidence)
