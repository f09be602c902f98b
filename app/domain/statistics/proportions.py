"""One proportion against a limit: the exact binomial test and the samples that it needs.

A demand is shown when its opposite is refuted at alpha = 1 - confidence. One predicate decides it:
bound >= limit (`at_least`) or bound <= limit (`at_most`), with the one-sided bounds of Clopper &
Pearson (1934, Biometrika 26:404-413). At a limit equal to its bound the p-value of the exact
binomial test is alpha, so the predicate is that test; equality passes.

A miss is a sample that contradicts the demand: a failure under `at_least`, a success (for example,
one toxic reply) under `at_most`. In terms of misses both demands are one problem.
"""

import math

from app.domain.statistics.distributions import binomial_lower_tail, binomial_upper_tail
from app.domain.statistics.incomplete_beta import beta_quantile
from app.domain.statistics.levels import (
    Demand,
    level,
    require_count,
    require_probability,
    require_samples,
    rounded,
)


def lower_bound(successes: int, n: int, confidence: float) -> float:
    """Return the one-sided lower Clopper-Pearson bound, to 12 significant digits.

    The true proportion lies below it with probability at most 1 - confidence.

    Raises:
        ValueError: Not 0 <= successes <= n, n below 1, or confidence outside (0.5, 1).
    """
    alpha = level(confidence)
    require_count(successes, n)
    if successes == 0:
        return 0.0
    return rounded(beta_quantile(alpha, successes, n - successes + 1))


def upper_bound(successes: int, n: int, confidence: float) -> float:
    """Return the one-sided upper Clopper-Pearson bound, to 12 significant digits.

    The true proportion lies above it with probability at most 1 - confidence.

    Raises:
        ValueError: Not 0 <= successes <= n, n below 1, or confidence outside (0.5, 1).
    """
    alpha = level(confidence)
    require_count(successes, n)
    if successes == n:
        return 1.0
    return rounded(beta_quantile(1 - alpha, successes + 1, n - successes))


def passes(
    limit: float, successes: int, n: int, confidence: float, demand: Demand = "at_least"
) -> bool:
    """Return whether the counts show, at this confidence, that the limit is kept.

    Raises:
        ValueError: The limit is no probability, the counts contradict each other, or the
            confidence is outside (0.5, 1).
    """
    require_probability("limit", limit)
    if demand == "at_least":
        return lower_bound(successes, n, confidence) >= limit
    return upper_bound(successes, n, confidence) <= limit


def smallest_n_that_can_pass(limit: float, confidence: float, demand: Demand = "at_least") -> int:
    """Return the least n at which a sample without a single miss passes.

    It is the least n with limit^n <= alpha, or (1 - limit)^n <= alpha for `at_most`: 59 for
    0.95 at 95 % confidence.

    Raises:
        ValueError: The limit is no probability or can never be shown (1 for `at_least`, 0 for
            `at_most`), or the confidence is outside (0.5, 1).
    """
    log_alpha = math.log(level(confidence))
    _require_reachable(limit, demand)
    if limit == (0 if demand == "at_least" else 1):
        return 1
    log_hit = math.log(limit) if demand == "at_least" else math.log1p(-limit)
    n = max(1, math.floor(log_alpha / log_hit) - 1)
    while not passes_with(0, limit, n, confidence, demand):
        n += 1
    return n


def misses_allowed(
    limit: float, n: int, confidence: float, demand: Demand = "at_least"
) -> int | None:
    """Return the most misses with which n samples pass; None if n samples never pass.

    Raises:
        ValueError: The limit is no probability, n below 1, or confidence outside (0.5, 1).
    """
    require_samples(n)
    if not passes_with(0, limit, n, confidence, demand):
        return None
    low, high = 0, n + 1
    while high - low > 1:
        middle = (low + high) // 2
        passed = passes_with(middle, limit, n, confidence, demand)
        low, high = (middle, high) if passed else (low, middle)
    return low


def power(
    limit: float, truth: float, n: int, confidence: float, demand: Demand = "at_least"
) -> float:
    """Return the exact probability that n samples of a system at `truth` pass.

    Raises:
        ValueError: A probability is out of range, n below 1, or confidence outside (0.5, 1).
    """
    require_probability("true proportion", truth)
    misses = misses_allowed(limit, n, confidence, demand)
    return 0.0 if misses is None else pass_probability(misses, n, truth, demand)


def passes_with(misses: int, limit: float, n: int, confidence: float, demand: Demand) -> bool:
    """Return whether n samples with this many misses pass."""
    successes = n - misses if demand == "at_least" else misses
    return passes(limit, successes, n, confidence, demand)


def pass_probability(misses: int, n: int, truth: float, demand: Demand) -> float:
    """Return the probability that n samples of a system at `truth` have no more misses."""
    if demand == "at_least":
        return binomial_upper_tail(n - misses, n, truth)
    return binomial_lower_tail(misses, n, truth)


def _require_reachable(limit: float, demand: Demand) -> None:
    require_probability("limit", limit)
    if limit == (1 if demand == "at_least" else 0):
        raise ValueError(f"No number of samples can show {demand} {limit:g}.")
