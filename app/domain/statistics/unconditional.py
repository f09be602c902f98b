"""The greatest probability of a set of paired tables over all rates of discordance.

A paired difference has a nuisance parameter, the probability that a pair is discordant. An exact
unconditional test takes the least favourable one: Hsueh, Liu & Chen (2001, Biometrics 57:478-483).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise

from app.domain.statistics.distributions import binomial_upper_tail

_SPREAD = 6.5
_SKEW = 3
_LEAST_POINTS = 64
_MOST_POINTS = 400
_PEAKS = 3
_GOLDEN = (math.sqrt(5) - 1) / 2
_GOLDEN_STEPS = 16
_DIFFERENCE_PRECISION = 1e-11
_LEVEL_PRECISION = 1e-9


@dataclass(frozen=True)
class Region:
    """A set of tables of n pairs: of m discordant ones the candidate wins needed[m] or more."""

    n: int
    needed: Sequence[int]

    @cached_property
    def steps(self) -> list[tuple[float, float, int, int]]:
        """How P(wins >= needed[m]) changes from m to m + 1 discordant pairs, for each m.

        With the same number needed, a win of the added pair completes it; with one more needed,
        a loss of that pair leaves out the tables that had just enough. Either way the change is
        sign * ways * share^wins * (1 - share)^losses, here as (sign, log(ways), wins, losses).
        """
        steps = []
        for m, (wins, after) in enumerate(pairwise(self.needed)):
            gains = after == wins
            ways = _log_ways(m, wins - 1 if gains else wins)
            steps.append((1.0 if gains else -1.0, ways, wins, m + 1 - wins))
        return steps


def probability(region: Region, discordance: float, difference: float) -> float:
    """Return the probability of the region, to about 1e-10.

    The number of discordant pairs is binomial; given it, so is the number of wins.

    Args:
        region: The set of tables.
        discordance: The probability that a pair is discordant, from |difference| to 1.
        difference: P(candidate succeeds) - P(reference succeeds).
    """
    n = region.n
    if discordance == 0:
        return float(region.needed[0] == 0)
    share = min(max((discordance + difference) / (2 * discordance), 0.0), 1.0)
    if discordance == 1:
        return next(_tails(region, share, n, n))
    spread = _SPREAD * (math.sqrt(n * discordance * (1 - discordance)) + _SKEW)
    low = max(0, math.floor(n * discordance - spread))
    high = min(n, math.ceil(n * discordance + spread))
    log_yes, log_no = math.log(discordance), math.log1p(-discordance)
    masses = [
        math.exp(ways + m * log_yes + (n - m) * log_no)
        for m, ways in enumerate(_all_log_ways(n)[low : high + 1], low)
    ]
    tails = _tails(region, share, low, high)
    return sum(mass * tail for mass, tail in zip(masses, tails, strict=True))


def at_position(region: Region, position: float, difference: float) -> float:
    """Return the probability of the region where `worst_case` says it is greatest, or elsewhere."""
    return probability(region, _discordance(position, difference), difference)


def worst_case(region: Region, difference: float) -> tuple[float, float]:
    """Return the greatest probability of the region at this difference, and where it is.

    The search evaluates a grid that is even in the arcsine of the root, the scale on which
    binomial proportions have constant spread, then uses golden sections around the highest points.

    Returns:
        The probability, and the position of the discordance between |difference| (position 0)
        and 1 (position 1).
    """
    points = min(_MOST_POINTS, _LEAST_POINTS + 2 * math.isqrt(region.n))

    def at(angle: float) -> float:
        return at_position(region, _position(angle), difference)

    angles = [math.pi / 2 * index / points for index in range(points + 1)]
    found = sorted(((at(angle), angle) for angle in angles), reverse=True)
    width = angles[1]
    for _, angle in found[:_PEAKS]:
        found.append(_peak(at, max(0.0, angle - width), min(math.pi / 2, angle + width)))
    highest, angle = max(found)
    return highest, _position(angle)


def greatest_refuted(region: Region, alpha: float, discordance: float) -> float:
    """Return the greatest difference at which the region's worst case is alpha at most.

    This is Buehler's bound (1957, JASA 52:482-493) for the worst table of the region; no exact
    bound with the same order of tables is greater. At a fixed position the probability grows with
    the difference. Each round therefore lowers the difference until the worst position so far has
    probability alpha, and the search ends when no position is worse.

    Args:
        region: All tables at least as favourable as the observed one.
        alpha: The level.
        discordance: The observed share of discordant pairs, where the search begins.
    """
    difference, position = 1.0, discordance
    while True:
        difference = _solve(region, alpha, position, difference)
        highest, position = worst_case(region, difference)
        if highest <= alpha * (1 + _LEVEL_PRECISION):
            return difference


def _solve(region: Region, alpha: float, position: float, above: float) -> float:
    low, high = -1.0, above
    while high - low > _DIFFERENCE_PRECISION:
        middle = (low + high) / 2
        chance = at_position(region, position, middle)
        low, high = (middle, high) if chance <= alpha else (low, middle)
    return low


def _discordance(position: float, difference: float) -> float:
    return abs(difference) + (1 - abs(difference)) * position


def _position(angle: float) -> float:
    return math.sin(angle) ** 2


def _tails(region: Region, share: float, low: int, high: int) -> Iterator[float]:
    """Return P(wins >= needed[m]) for m = low to high discordant pairs, each from the last."""
    needed = region.needed
    if share in (0.0, 1.0):
        return (float(needed[m] <= share * m) for m in range(low, high + 1))
    log_win, log_loss = math.log(share), math.log1p(-share)
    first = binomial_upper_tail(needed[low], low, share) if low else float(needed[0] == 0)
    changes = [
        sign * math.exp(ways + wins * log_win + losses * log_loss)
        for sign, ways, wins, losses in region.steps[low:high]
    ]
    return accumulate(changes, initial=first)


@lru_cache(maxsize=8)  # a search asks for the same n hundreds of times
def _all_log_ways(n: int) -> list[float]:
    return [_log_ways(n, k) for k in range(n + 1)]


def _log_ways(n: int, k: int) -> float:
    """Return log(n choose k), which is -inf for a k that is out of range."""
    if k < 0 or k > n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _peak(function: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """Return the highest value between `low` and `high` and its place, by golden sections."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(_GOLDEN_STEPS):
        if at_left < at_right:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
        else:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
    return max((at_left, left), (at_right, right))
