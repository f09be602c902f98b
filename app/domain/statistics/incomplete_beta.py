"""The regularised incomplete beta function and its inverse, to about 12 digits.

Binomial tails and Student's t are both special cases of it.
"""

import math
from collections.abc import Callable
from functools import lru_cache

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_TINY = 1e-300
_PRECISION = 1e-13
_LARGE = 15.0
_SMALLEST_P = 1e-100
_SMALLEST_SHAPE = 0.5


def beta_cdf(x: float, a: float, b: float, *, complement: float | None = None) -> float:
    """Return I_x(a, b) = P(X <= x) for X ~ Beta(a, b).

    The continued fraction is DLMF 8.17.22 evaluated by Lentz's method as modified by Thompson
    & Barnett (1986, J. Comput. Phys. 64:490-509); it converges in O(sqrt(max(a, b))) steps.

    Args:
        x: The argument, from 0 to 1.
        a: First shape, at least 0.5.
        b: Second shape, at least 0.5.
        complement: 1 - x, if the caller knows it more precisely than the subtraction.

    Raises:
        ValueError: An argument is out of range or not a number.
    """
    _require_shapes(a, b)
    if not 0 <= x <= 1:
        raise ValueError(f"The argument of a beta distribution must lie in [0, 1], not {x}.")
    y = 1 - x if complement is None else complement
    if x == 0 or y == 0:
        return float(y == 0)
    if x < (a + 1) / (a + b + 2):
        return leading_term(x, y, a, b) * _continued_fraction(x, a, b)
    return 1 - leading_term(y, x, b, a) * _continued_fraction(y, b, a)


@lru_cache(maxsize=4096)  # many cells have the same counts, and each is tested several times
def beta_quantile(p: float, a: float, b: float) -> float:
    """Return the x with I_x(a, b) = p.

    Args:
        p: A probability from 1e-100, below which the quantile of a shape near 0.5 would
            underflow, to below 1.
        a: First shape, at least 0.5.
        b: Second shape, at least 0.5.

    Raises:
        ValueError: An argument is out of range or not a number.
    """
    _require_shapes(a, b)
    if not _SMALLEST_P <= p < 1:
        raise ValueError(f"The p of a quantile must lie between 0 and 1, not {p}.")

    def excess(x: float) -> tuple[float, float]:
        slope = leading_term(x, 1 - x, a, b) * a / (x * (1 - x))
        return beta_cdf(x, a, b) - p, slope

    return increasing_root(excess, 0, 1, a / (a + b))


def increasing_root(
    function: Callable[[float], tuple[float, float]], low: float, high: float, start: float
) -> float:
    """Return the root of an increasing function between `low` and `high`, to 13 digits.

    Newton's method; where a step would leave the bracket, bisection.

    Args:
        function: Returns the value and the slope at a point.
        low: A point at or below the root.
        high: A point at or above the root.
        start: A point between them.
    """
    x = start
    while True:
        value, slope = function(x)
        if value == 0:
            return x
        low, high = (low, x) if value > 0 else (x, high)
        step = x - value / slope if slope > 0 else math.nan
        after = step if low < step < high else (low + high) / 2
        if abs(after - x) <= _PRECISION * abs(x):
            return after
        x = after


def leading_term(x: float, y: float, a: float, b: float) -> float:
    """Return x^a y^b / (a B(a, b)), where y = 1 - x.

    A computation by log-gamma would lose the digits that cancel, nine of sixteen at a + b = 1e6;
    the saddle-point form of Loader (2000, "Fast and accurate computation of binomial
    probabilities") loses none.
    """
    n = a + b
    # a - nx and ny - b are the same number; the smaller of x and y has the smaller error.
    gap = a - n * x if x < y else n * y - b
    exponent = _stirling_error(n) - _stirling_error(a) - _stirling_error(b)
    exponent -= _deviance(a, n * x, gap) + _deviance(b, n * y, -gap)
    return math.exp(exponent) * math.sqrt(n / (2 * math.pi * a * b)) * b / n


def _stirling_error(z: float) -> float:
    """Return log Gamma(z + 1) less Stirling's approximation to it (Loader 2000)."""
    if z < _LARGE:
        return math.lgamma(z + 1) - (z + 0.5) * math.log(z) + z - _HALF_LOG_2PI
    square = z * z
    series = 1 / 1260 - (1 / 1680 - (1 / 1188) / square) / square
    return (1 / 12 - (1 / 360 - series / square) / square) / z


def _deviance(x: float, mean: float, gap: float) -> float:
    """Return x log(x / mean) - gap, where gap = x - mean, without cancellation (Loader 2000)."""
    if abs(gap) >= 0.1 * (x + mean):
        return x * (math.log(x) - math.log(mean)) - gap
    v = gap / (x + mean)
    total, power, order = gap * v, 2 * x * v, 1
    while True:
        power *= v * v
        order += 2
        after = total + power / order
        if after == total:
            return total
        total = after


def _continued_fraction(x: float, a: float, b: float) -> float:
    """Return 1 / (1 + d1 / (1 + d2 / (1 + ...))) of DLMF 8.17.22."""
    c, d = 1.0, 1 / _off_zero(1 - (a + b) * x / (a + 1))
    fraction, m = d, 1
    while True:
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _off_zero(1 + even * d)
        c = _off_zero(1 + even / c)
        fraction *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / _off_zero(1 + odd * d)
        c = _off_zero(1 + odd / c)
        fraction *= d * c
        if abs(d * c - 1) < 2 * math.ulp(1):
            return fraction
        m += 1


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _require_shapes(a: float, b: float) -> None:
    for shape in (a, b):
        if not _SMALLEST_SHAPE <= shape < math.inf:
            raise ValueError(f"The shape of a beta distribution must be at least 0.5, not {shape}.")
