"""A candidate against a reference on the same samples: one-sided bounds on the difference.

Difference means candidate - reference throughout. Non-inferiority by a margin is shown when the
lower bound is >= -margin (higher is better) or the upper bound is <= margin (lower is better).
"""

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import lru_cache

from app.domain.statistics import means
from app.domain.statistics.distributions import normal_quantile
from app.domain.statistics.levels import level, require_finite, require_probability, require_samples
from app.domain.statistics.tango import nominal_lower_bound, wins_needed
from app.domain.statistics.unconditional import (
    Region,
    at_position,
    greatest_refuted,
    probability,
    worst_case,
)

_DECIMALS = 1e9
_BRACKET = 1 / 128


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """The counts of pairs by which of the two systems succeeded; at least one pair.

    Raises:
        ValueError: A count is negative, or all are 0.
    """

    both: int
    only_candidate: int
    only_reference: int
    neither: int

    def __post_init__(self) -> None:
        if min(astuple(self)) < 0 or self.n < 1:
            raise ValueError("A paired comparison needs at least one pair and no negative count.")

    @property
    def n(self) -> int:
        return self.both + self.only_candidate + self.only_reference + self.neither

    def mirrored(self) -> "PairedCounts":
        """The same pairs with the roles exchanged."""
        return PairedCounts(self.both, self.only_reference, self.only_candidate, self.neither)


# The gate is evaluated several times: in previews, on request, and on execution under a lock.
@lru_cache(maxsize=4096)
def lower_bound(pairs: PairedCounts, confidence: float) -> float:
    """Return the exact one-sided lower bound on the difference of paired proportions.

    The tables are ordered by Tango's score bound, and the bound is the greatest difference that
    the observed table, or one more favourable, refutes at every rate of discordance. So the true
    difference lies below it with probability at most 1 - confidence, which Tango's own bound
    does not ensure. The bound never falls when a pair changes for the better, and by construction
    a larger margin never refuses a table that a smaller one accepts.

    The bound is rounded down in the ninth decimal, so numerical error counts against the claim.
    The computation takes about 0.05 s for 1,000 pairs and 0.2 s for 10,000.

    Raises:
        ValueError: The confidence is outside (0.5, 1).
    """
    alpha = level(confidence)
    wins, losses, n = pairs.only_candidate, pairs.only_reference, pairs.n
    if losses == n:
        return -1.0
    nominal = nominal_lower_bound(wins, losses, n, confidence)
    region = Region(n, wins_needed(n, nominal, -normal_quantile(alpha)))
    bound = greatest_refuted(region, alpha, (wins + losses) / n)
    return math.floor(bound * _DECIMALS) / _DECIMALS


def upper_bound(pairs: PairedCounts, confidence: float) -> float:
    """Return the exact one-sided upper bound on the difference; see `lower_bound`."""
    return -lower_bound(pairs.mirrored(), confidence)


def mean_lower_bound(
    n: int, difference: float, variance: float, confidence: float, *, worst: float | None = None
) -> float | None:
    """Return the one-sided lower paired t bound on a mean difference.

    Args:
        n: Number of pairs.
        difference: The mean of candidate - reference over the pairs, in the metric's unit.
        variance: The sample variance (divisor n - 1) of those differences, in that unit squared.
        confidence: 1 - alpha, between 0.5 and 1.
        worst: The least difference that a pair can have, if there is one: for a metric on
            [low, high], low - high.

    Returns:
        The bound, or None if there is none; see `means.lower_bound`.

    Raises:
        ValueError: See `means.lower_bound`.
    """
    return means.lower_bound(n, difference, _stderr(n, variance), confidence, worst=worst)


def mean_upper_bound(
    n: int, difference: float, variance: float, confidence: float, *, worst: float | None = None
) -> float | None:
    """Return the one-sided upper paired t bound; `worst` is the greatest possible difference."""
    return means.upper_bound(n, difference, _stderr(n, variance), confidence, worst=worst)


def power(margin: float, discordance: float, n: int, confidence: float) -> float:
    """Return the probability that n pairs of two equally good systems pass the margin.

    Args:
        margin: By how much the candidate may be worse, from 0 to 1.
        discordance: The probability that exactly one of the two succeeds on a sample.
        n: Number of pairs.
        confidence: The rule's confidence.

    Raises:
        ValueError: An argument is out of range.
    """
    require_probability("discordance", discordance)
    return probability(passing_region(margin, n, confidence), discordance, 0.0)


@lru_cache(maxsize=64)
def passing_region(margin: float, n: int, confidence: float) -> Region:
    """Return the tables of n pairs whose lower bound is at least -margin.

    Raises:
        ValueError: The margin is not between 0 and 1, n is below 1, or the confidence is outside
            (0.5, 1).
    """
    require_samples(n)
    require_probability("margin", margin)
    alpha, z = level(confidence), -normal_quantile(level(confidence))
    known: dict[tuple[int, ...], bool] = {}  # there are fewer regions than steps of the bisection
    worst = 0.0

    def refutes(nominal: float) -> bool:
        nonlocal worst
        needed = wins_needed(n, nominal, z)
        region, key = Region(n, needed), tuple(needed)
        if key not in known:
            highest = at_position(region, worst, -margin)
            if highest <= alpha:
                highest, worst = worst_case(region, -margin)
            known[key] = highest <= alpha
        return known[key]

    low, high = _bracket(refutes, -margin)
    while high - low > 1 / _DECIMALS:
        middle = (low + high) / 2
        low, high = (low, middle) if refutes(middle) else (middle, high)
    return Region(n, wins_needed(n, high, z))


def _bracket(refutes: Callable[[float], bool], near: float) -> tuple[float, float]:
    """Return a nominal bound that refutes too little and one that refutes enough, near a guess."""
    low, high, width = near, near, _BRACKET
    while high < 1 and not refutes(high):
        low, high, width = high, min(high + width, 1.0), 2 * width
    while low > -1 and refutes(low):
        low, high, width = max(low - width, -1.0), low, 2 * width
    return low, high


def _stderr(n: int, variance: float) -> float:
    require_finite("variance", variance)
    if variance < 0 or n < 1:
        raise ValueError("A paired mean needs at least one pair and a variance of at least 0.")
    return math.sqrt(variance / n)
