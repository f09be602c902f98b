"""The mean of bounded values against a limit: confidence bounds by betting.

Waudby-Smith & Ramdas (2024, JRSS B 86:1-27), with their bets mixed over a fixed grid, so that the
order of the values does not matter. For values x in [0, 1] and a hypothetical mean m,

    K(m) = mean over c of the product over x of 1 + c (x / m - 1)

is the wealth of a gambler who stakes the fraction c, again and again, on values above m. If the
true mean is m or less, no bet has an expected gain, so K(m) reaches 1 / alpha with probability at
most alpha (Markov), and at any number of values at all with no more (Ville). The lower bound is the
greatest m with K(m) >= 1 / alpha: K falls as m grows, and rises with every value. Nothing is
assumed of the distribution but its range.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from math import log
from operator import mul
from typing import Final

from app.domain.statistics.levels import Demand, level, require_finite, require_samples

# Small fractions find small differences in many values, large ones large differences in few. With
# this grid the samples needed are about 1.3 times those of the best single fraction.
FRACTIONS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)

_LEVELS = 128
_PARTS = 8192  # between two levels
_POSITIONS = _LEVELS * _PARTS
_STEPS = 10**9  # bounds are multiples of the range / 10^9
_PLACES = 11
_CONVERGED = 1e-7  # the next step would be about its square
_LEAST_LOG = -math.log(2 * _STEPS)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bounded values, counted on a grid; made by `histogram`.

    Attributes:
        low: The least possible value.
        high: The greatest possible value.
        side: The demand that the values can show.
        n: How many values there are.
        weights: Pairs of a level, from 0 for the worst value to 128 for the best, and its weight
            in 1/8192 of a value, in the order of levels. A value between two levels adds to both.
    """

    low: float
    high: float
    side: Demand
    n: int
    weights: tuple[tuple[int, int], ...]

    def in_unit(self, step: int) -> float:
        """Return the value that is `step` / 10^9 of the way from the worst to the best.

        Rounding to some hundredths of a step leaves a short decimal, as limits are.
        """
        width = self.high - self.low
        distance = width * (step / _STEPS)
        value = self.low + distance if self.side == "at_least" else self.high - distance
        return round(value, _PLACES - math.floor(math.log10(width)))


def histogram(values: Iterable[float], low: float, high: float, side: Demand) -> Histogram:
    """Count values on a grid, so that the cost of a bound does not depend on their number.

    Each value moves towards the worst by less than one millionth of the range, then counts as
    fractions of the two neighbouring levels. The logarithm is concave, so the fractions never earn
    more than the value: the bound stays valid, and it loses next to nothing.

    Args:
        values: The values; one for each cluster of samples that depend on each other.
        low: The least possible value.
        high: The greatest possible value.
        side: The demand to show: `at_least` for a lower bound, `at_most` for an upper one.

    Raises:
        ValueError: A value is outside [low, high] or not a number, there is none, or the range is
            empty or infinite.
    """
    width = high - low
    if not 0 < width < math.inf:
        raise ValueError(f"The range must be finite and not empty, not {low} to {high}.")
    given = list(values)
    require_samples(len(given))
    if side == "at_least":
        shares = [(value - low) / width for value in given]
    else:
        shares = [(high - value) / width for value in given]
    try:
        positions = Counter(map(int, map(mul, shares, repeat(_POSITIONS))))
    except (ValueError, OverflowError):
        raise ValueError("Every value must be a finite number.") from None
    if min(given) < low or max(given) > high:
        raise ValueError(f"Every value must lie between {low} and {high}.")
    return Histogram(low, high, side, len(given), _weights(positions))


def combined(parts: Iterable[tuple[Histogram, int]]) -> Histogram:
    """Return the histogram of the values of all parts, each part counted so many times.

    Raises:
        ValueError: The parts differ in their range or side, or there is no value.
    """
    given = [(part, times) for part, times in parts if times > 0]
    kinds = {(part.low, part.high, part.side) for part, _ in given}
    if len(kinds) != 1:
        raise ValueError("There must be values, and all of one range and side.")
    weights: Counter[int] = Counter()
    for part, times in given:
        for each, weight in part.weights:
            weights[each] += weight * times
    n = sum(part.n * times for part, times in given)
    return Histogram(*kinds.pop(), n, tuple(sorted(weights.items())))


def lower_bound(values: Histogram, confidence: float) -> float:
    """Return the one-sided lower bound on the true mean, in the unit of the values.

    The true mean lies below it with probability at most 1 - confidence. It is rounded down to
    10^-9 of the range, so numerical error counts against the claim.

    Raises:
        ValueError: The values were counted for `at_most`, or the confidence is outside (0.5, 1).
    """
    _require_side(values, "at_least")
    return values.in_unit(_bound(values, level(confidence)))


def upper_bound(values: Histogram, confidence: float) -> float:
    """Return the one-sided upper bound on the true mean; see `lower_bound`.

    Raises:
        ValueError: The values were counted for `at_least`, or the confidence is outside (0.5, 1).
    """
    _require_side(values, "at_most")
    return values.in_unit(_bound(values, level(confidence)))


def passes(values: Histogram, limit: float, confidence: float, demand: Demand) -> bool:
    """Return whether the values show, at this confidence, that their mean keeps the limit.

    It is the predicate bound >= limit, or bound <= limit for `at_most`, without a search for the
    bound.

    Raises:
        ValueError: The limit is not finite, the values were counted for another demand, or the
            confidence is outside (0.5, 1).
    """
    _require_side(values, demand)
    require_finite("limit", limit)
    return _reaches(values, _step_of(values, limit), level(confidence))


def smallest_n_that_can_pass(
    limit: float, low: float, high: float, confidence: float, demand: Demand
) -> int:
    """Return the least n with which n values, all the best possible, pass.

    Raises:
        ValueError: No number of values can show the limit, the range is empty or infinite, or the
            confidence is outside (0.5, 1).
    """
    require_finite("limit", limit)
    best = high if demand == "at_least" else low
    perfect = histogram([best], low, high, demand)
    step, alpha = _step_of(perfect, limit), level(confidence)
    if step >= _STEPS:
        raise ValueError(f"No number of samples can show {demand} {limit:g}.")

    def suffices(n: int) -> bool:
        return _reaches(combined([(perfect, n)]), step, alpha)

    enough = 1
    while not suffices(enough):
        enough *= 2
    return bisect_left(range(enough), x=True, lo=(enough + 1) // 2, key=suffices)


def _weights(positions: Counter[int]) -> tuple[tuple[int, int], ...]:
    weights = [0] * (_LEVELS + 2)
    for position, count in positions.items():
        below, parts = divmod(position, _PARTS)
        weights[below] += count * (_PARTS - parts)
        weights[below + 1] += count * parts
    return tuple((each, weight) for each, weight in enumerate(weights) if weight)


def _require_side(values: Histogram, demand: Demand) -> None:
    if values.side != demand:
        raise ValueError(f"The values were counted for {values.side}, not for {demand}.")


def _step_of(values: Histogram, limit: float) -> int:
    """Return the least step whose value keeps the limit; one more than all steps if none does."""
    steps = range(_STEPS + 1)
    if values.side == "at_least":
        return bisect_left(steps, limit, key=values.in_unit)
    return bisect_left(steps, -limit, key=lambda step: -values.in_unit(step))


def _reaches(values: Histogram, step: int, alpha: float) -> bool:
    """Return whether the bound is at least this step: it is no bet that a mean is at least 0."""
    if step == 0:
        return True
    return step < _STEPS and _log_wealth(values, step / _STEPS)[0] >= -math.log(alpha)


# The gate is evaluated several times: in previews, on request, and on execution under a lock.
@lru_cache(maxsize=512)
def _bound(values: Histogram, alpha: float) -> int:
    """Return the greatest step that the values reach.

    log K is convex in log m and below 0 at the mean of the values, so Newton's steps from there
    approach the bound from below. The last steps go by the predicate, so the bound does not depend
    on the path.
    """
    total = sum(each * weight for each, weight in values.weights)
    mean = total / (values.n * _POSITIONS)
    if mean == 0:
        return 0
    log_m, move, goal = math.log(mean), math.inf, -math.log(alpha)
    while abs(move) > _CONVERGED:
        wealth, slope = _log_wealth(values, math.exp(log_m))
        move = max((goal - wealth) / slope, _LEAST_LOG - log_m)
        log_m += move
    step = max(math.floor(math.exp(log_m) * _STEPS) - 1, 0)
    while _reaches(values, step + 1, alpha):
        step += 1
    return step


def _log_wealth(values: Histogram, m: float) -> tuple[float, float]:
    """Return log K(m) and its derivative by log m; `fsum` does not depend on the order."""
    wealths, slopes = [], []
    for c in FRACTIONS:
        worst, rise = 1 - c, c / (m * _LEVELS)
        factors = [(worst + rise * each, weight) for each, weight in values.weights]
        wealths.append(math.fsum([weight * log(factor) for factor, weight in factors]) / _PARTS)
        inverse = math.fsum([weight / factor for factor, weight in factors]) / _PARTS
        slopes.append(worst * inverse - values.n)
    greatest = max(wealths)
    shares = [math.exp(each - greatest) for each in wealths]
    total = math.fsum(shares)
    slope = math.fsum(map(mul, shares, slopes)) / total
    return greatest + math.log(total / len(FRACTIONS)), slope
