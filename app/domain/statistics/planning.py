"""How many samples a cell needs, so that a system truly better than the limit passes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from app.domain.statistics import paired
from app.domain.statistics.betting import Histogram, combined, histogram, passes
from app.domain.statistics.distributions import binomial_lower_tail, normal_quantile
from app.domain.statistics.levels import (
    Demand,
    level,
    require_finite,
    require_probability,
)
from app.domain.statistics.means import SMALLEST_SAMPLE
from app.domain.statistics.proportions import (
    pass_probability,
    passes_with,
    smallest_n_that_can_pass,
)

LARGEST_PLAN = 1_000_000
LARGEST_EXACT_PAIRS = 2_000
_LEAST_POWER = 0.5
_STEP = 3  # per cent
_SLACK = 1e-9
_TOO_MANY = f"It would take more than {LARGEST_PLAN} samples."


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

    def allowed(misses: int, n: int) -> bool:
        return passes_with(misses, limit, n, confidence, demand)

    def chance(misses: int, n: int) -> float:
        return pass_probability(misses, n, truth, demand)

    return _least_settled(_Teeth(allowed, chance, power), math.ceil(4 / abs(truth - limit)))


# The search over exact tails takes up to a second, and calls repeat.
@lru_cache(maxsize=256)
def samples_for_bounded_mean(
    limit: float,
    truth: float,
    deviation: float,
    confidence: float,
    power: float,
    *,
    low: float,
    high: float,
    demand: Demand = "at_least",
) -> int:
    """Return the least n from which on a mean passes the betting bound with at least this power.

    The power is exact for the distribution with this mean and deviation that is least favourable
    to the bets; see `_least_favourable`.

    Args:
        limit: The policy's limit on the mean.
        truth: The true mean to plan for, on the right side of the limit.
        deviation: The standard deviation of one value.
        confidence: The rule's confidence.
        power: The desired probability of passing, such as 0.8.
        low: The least possible value.
        high: The greatest possible value.
        demand: The side of the limit on which the truth must be shown to lie.

    Raises:
        ValueError: The truth is not on the right side of the limit, no values in the range have
            this deviation, an argument is out of range, or it would take more than LARGEST_PLAN
            samples.
    """
    _require_bounded(limit, truth, deviation, low, high)
    _require_better(limit, truth, demand)
    _require_power(power)
    share, miss, hit = _least_favourable(truth, deviation, low=low, high=high, demand=demand)

    def allowed(misses: int, n: int) -> bool:
        values = combined([(hit, n - misses), (miss, misses)])
        return passes(values, limit, confidence, demand)

    def chance(misses: int, n: int) -> float:
        return binomial_lower_tail(misses, n, share)

    window = math.ceil(4 * (high - low) / abs(truth - limit))
    return _least_settled(_Teeth(allowed, chance, power), window)


def _least_favourable(
    truth: float, deviation: float, *, low: float, high: float, demand: Demand
) -> tuple[float, Histogram, Histogram]:
    """Return the share of worst values, one of them, and one of the others, which are all equal.

    The third derivative of the logarithm is positive, so no distribution on the range with the same
    mean and deviation lets the bets grow more slowly.
    """
    worst, best = (low, high) if demand == "at_least" else (high, low)
    mean = abs(truth - worst)
    distance = min((mean + deviation**2 / mean) / (high - low), 1)
    other = worst + distance * (best - worst)
    hit = histogram([min(max(other, low), high)], low, high, demand)
    share = deviation**2 / (mean**2 + deviation**2)
    return share, histogram([worst], low, high, demand), hit


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
        raise ValueError(_TOO_MANY)
    return max(SMALLEST_SAMPLE, math.ceil(n))


# Each exact power takes up to half a second, and calls repeat.
@lru_cache(maxsize=256)
def samples_for_pairs(margin: float, discordance: float, confidence: float, power: float) -> int:
    """Return an n of pairs that show with this power that two equally good systems are as good.

    The search starts near the n of Connor (1987, Biometrics 43:207-211) for equal proportions,
    (z_a + z_b)^2 d / margin^2. Where the exact test falls short of the power, steps that double
    and bisections lead to an n at which it does not, and does at one some 3 % smaller. Exact power
    is saw-toothed, so it holds at this n; a few more pairs may lose it again. Above
    LARGEST_EXACT_PAIRS the answer is Connor's n and twice the fewest pairs that can pass, which is
    more than enough in the cases tested.

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
    fewest = smallest_n_that_can_pass(1 - margin, confidence)
    smooth = z**2 * discordance / margin**2
    n = _exact_pairs(
        max(math.ceil(smooth + 1 / margin), fewest),
        lambda n: paired.power(margin, discordance, n, confidence) >= power,
    )
    n = n or max(math.ceil(smooth) + 2 * fewest, LARGEST_EXACT_PAIRS)
    if n > LARGEST_PLAN:
        raise ValueError(_TOO_MANY)
    return n


def _exact_pairs(guess: int, suffices: Callable[[int], bool]) -> int | None:
    """Return an n that suffices where one some 3 % smaller does not, or None above the limit."""
    short = enough = guess
    share = _STEP
    while enough <= LARGEST_EXACT_PAIRS and not suffices(enough):
        short, enough = enough, enough + max(1, enough * share // 100)
        share *= 2
    if enough > LARGEST_EXACT_PAIRS:
        return None
    while enough - short > max(1, enough * _STEP // 100):
        middle = (short + enough) // 2
        short, enough = (short, middle) if suffices(middle) else (middle, enough)
    return enough


@dataclass(frozen=True, slots=True)
class _Teeth:
    """A test of n samples in which a number of misses is allowed, and that grows with n.

    Attributes:
        allowed: Whether n samples with so many misses pass.
        chance: The probability that n samples have no more misses.
        power: The desired probability of passing.
    """

    allowed: Callable[[int, int], bool]
    chance: Callable[[int, int], float]
    power: float

    def first(self, misses: int) -> int:
        """Return the least n that passes with this many misses."""
        low, high = misses, 2 * misses + 1
        while not self.allowed(misses, high):
            low, high = high, 2 * high
            if low > LARGEST_PLAN:
                raise ValueError(_TOO_MANY)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.allowed(misses, middle) else (middle, high)
        return high

    def suffices(self, misses: int) -> bool:
        """Return whether the tooth of this many misses has the power at its low end."""
        return self.chance(misses, self.first(misses + 1) - 1) >= self.power


def _least_settled(teeth: _Teeth, window: int) -> int:
    """Return the n after the last tooth that falls short, searching from one that suffices.

    Teeth differ in length by one sample, so for a while their ends can fall short again. The trend
    outweighs one sample within about 2 / |truth - limit| samples; the window covers twice that.
    """
    low, high = -1, 0
    while not teeth.suffices(high):
        low, high = high, 2 * high + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if teeth.suffices(middle) else (middle, high)
    misses, n = high, teeth.first(high)
    settled = n
    while n < settled + window:
        if teeth.allowed(misses + 1, n + 1):
            short = teeth.chance(misses, n) < teeth.power
            settled = n + 1 if short else settled
            misses += 1
        n += 1
    return settled


def _require_plan(limit: float, truth: float, power: float, demand: Demand) -> None:
    if not 0 < limit < 1:
        raise ValueError(f"A plan needs a limit between 0 and 1, not {limit}.")
    require_probability("true proportion", truth)
    _require_power(power)
    _require_better(limit, truth, demand)


def _require_bounded(limit: float, truth: float, deviation: float, low: float, high: float) -> None:
    if not low < high:
        raise ValueError(f"A plan for a mean needs a range, not {low:g} to {high:g}.")
    if not (low < limit < high and low <= truth <= high):
        raise ValueError(f"The limit and the true mean must lie between {low:g} and {high:g}.")
    greatest = math.sqrt((truth - low) * (high - truth))
    if not 0 <= deviation <= greatest + _SLACK * (high - low):
        raise ValueError(
            f"Values between {low:g} and {high:g} with mean {truth:g} have a standard deviation"
            f" between 0 and {greatest:g}, not {deviation:g}."
        )


def _require_better(limit: float, truth: float, demand: Demand) -> None:
    better = truth > limit if demand == "at_least" else truth < limit
    if not better:
        raise ValueError(f"A system at {truth:g} is not strictly better than {demand} {limit:g}.")


def _require_power(power: float) -> None:
    if not _LEAST_POWER <= power < 1:
        raise ValueError(f"The power must lie between 0.5 and 1, not {power}.")
