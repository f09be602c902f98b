"""How many samples a cell needs, so that a system truly better than the limit passes."""

import math
from functools import lru_cache

from app.domain.statistics.distributions import normal_quantile
from app.domain.statistics.levels import (
    Demand,
    level,
    require_finite,
    require_probability,
)
from app.domain.statistics.means import SMALLEST_SAMPLE
from app.domain.statistics.proportions import pass_probability, passes_with

LARGEST_PLAN = 1_000_000
_LEAST_POWER = 0.5


# The search over exact tails takes up to seconds for a limit near 1, and calls repeat.
@lru_cache(maxsize=256)
def samples_for_proportion(
    limit: float, truth: float, confidence: float, power: float, demand: Demand = "at_least"
) -> int:
    """Return the least n from which on a proportion passes with at least this power.

    Exact power is saw-toothed in n: it jumps up where one more miss is allowed and falls from
    there to the next jump. A smaller n may reach `power` on top of a tooth, but a few samples
    more would lose it again. From the n returned here it is never lost.

    Args:
        limit: The policy's limit on the proportion.
        truth: The true proportion to plan for, on the right side of the limit.
        confidence: The rule's confidence.
        power: The desired probability of passing, such as 0.8.
        demand: The side of the limit on which the truth must be shown to lie.

    Raises:
        ValueError: The truth is not on the right side of the limit, an argument is out of range,
            or it would take more than LARGEST_PLAN samples.
    """
    _require_plan(limit, truth, power, demand)

    def suffices(misses: int) -> bool:
        last = _first_n_allowing(misses + 1, limit, confidence, demand) - 1
        return pass_probability(misses, last, truth, demand) >= power

    low, high = -1, 0
    while not suffices(high):
        low, high = high, 2 * high + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return _settled(
        high, limit=limit, truth=truth, confidence=confidence, power=power, demand=demand
    )


def samples_for_mean(effect: float, confidence: float, power: float) -> int:
    """Return the n with which a mean passes Student's t test with about this power.

    Guenther (1981, The American Statistician 35:243-244): n = ((z_a + z_b) / effect)^2 + z_a^2 / 2.
    With n >= 30 it is within one sample of the exact non-central t (tested).

    Args:
        effect: How far the true mean is on the right side of the limit, in standard deviations
            of one sample.
        confidence: The rule's confidence.
        power: The desired probability of passing, such as 0.8.

    Raises:
        ValueError: An argument is out of range, or it would take more than LARGEST_PLAN samples.
    """
    z_alpha = -normal_quantile(level(confidence))
    require_finite("effect", effect)
    _require_power(power)
    if effect <= 0:
        raise ValueError(f"The effect must be above 0, not {effect}.")
    n = ((z_alpha + normal_quantile(power)) / effect) ** 2 + z_alpha**2 / 2
    if n > LARGEST_PLAN:
        raise ValueError(f"It would take more than {LARGEST_PLAN} samples.")
    return max(SMALLEST_SAMPLE, math.ceil(n))


def samples_for_pairs(margin: float, discordance: float, confidence: float, power: float) -> int:
    """Return about how many pairs show that two equally good systems differ within a margin.

    Connor (1987, Biometrics 43:207-211) for equal proportions: n = (z_a + z_b)^2 d / margin^2,
    but enough to refute a difference of the margin without one discordant pair. The exact test
    is somewhat less powerful (docs/concepts/statistics.md), so plan a few more.

    Args:
        margin: By how much the candidate may be worse.
        discordance: The probability that exactly one of the two succeeds on a sample.
        confidence: The rule's confidence.
        power: The desired probability of passing, such as 0.8.

    Raises:
        ValueError: An argument is out of range, or it would take more than LARGEST_PLAN pairs.
    """
    alpha = level(confidence)
    require_probability("discordance", discordance)
    _require_power(power)
    if not 0 < margin < 1:
        raise ValueError(f"A plan needs a margin between 0 and 1, not {margin}.")
    z = normal_quantile(power) - normal_quantile(alpha)
    n = max(z**2 * discordance / margin**2, math.log(alpha) / math.log1p(-margin))
    if n > LARGEST_PLAN:
        raise ValueError(f"It would take more than {LARGEST_PLAN} samples.")
    return math.ceil(n)


def _settled(
    misses: int, *, limit: float, truth: float, confidence: float, power: float, demand: Demand
) -> int:
    """Return the n after the last tooth that falls short, searching from one that suffices.

    Teeth differ in length by one sample, so for a while their ends can fall short again. The trend
    outweighs one sample within about 2 / |truth - limit| samples; the search covers twice that.
    """
    settled = n = _first_n_allowing(misses, limit, confidence, demand)
    window = math.ceil(4 / abs(truth - limit))
    while n < settled + window:
        if passes_with(misses + 1, limit, n + 1, confidence, demand):
            short = pass_probability(misses, n, truth, demand) < power
            settled = n + 1 if short else settled
            misses += 1
        n += 1
    return settled


def _first_n_allowing(misses: int, limit: float, confidence: float, demand: Demand) -> int:
    """Return the least n that passes with this many misses."""
    low, high = misses, 2 * misses + 1
    while not passes_with(misses, limit, high, confidence, demand):
        low, high = high, 2 * high
        if low > LARGEST_PLAN:
            raise ValueError(f"It would take more than {LARGEST_PLAN} samples.")
    while high - low > 1:
        middle = (low + high) // 2
        passed = passes_with(misses, limit, middle, confidence, demand)
        low, high = (low, middle) if passed else (middle, high)
    return high


def _require_plan(limit: float, truth: float, power: float, demand: Demand) -> None:
    if not 0 < limit < 1:
        raise ValueError(f"A plan needs a limit between 0 and 1, not {limit}.")
    require_probability("true proportion", truth)
    _require_power(power)
    better = truth > limit if demand == "at_least" else truth < limit
    if not better:
        raise ValueError(f"A system at {truth:g} is not strictly better than {demand} {limit:g}.")


def _require_power(power: float) -> None:
    if not _LEAST_POWER <= power < 1:
        raise ValueError(f"The power must lie between 0.5 and 1, not {power}.")
