"""Binomial tails, Student's t and the normal distribution, as accurate as SciPy's to 1e-9."""

import math
from statistics import NormalDist

from app.domain.statistics.incomplete_beta import beta_cdf, increasing_root, leading_term
from app.domain.statistics.levels import require_probability, require_samples

_SMALLEST_P = 1e-100
_MEDIAN = 0.5


def binomial_upper_tail(k: int, n: int, p: float) -> float:
    """Return P(X >= k) for X ~ Binomial(n, p), as I_p(k, n - k + 1) (DLMF 8.17.5).

    Raises:
        ValueError: n is below 1 or p is no probability.
    """
    _require_binomial(n, p)
    if k <= 0 or k > n:
        return float(k <= 0)
    return beta_cdf(p, k, n - k + 1)


def binomial_lower_tail(k: int, n: int, p: float) -> float:
    """Return P(X <= k) for X ~ Binomial(n, p), as I_{1-p}(n - k, k + 1).

    Raises:
        ValueError: n is below 1 or p is no probability.
    """
    _require_binomial(n, p)
    if k < 0 or k >= n:
        return float(k >= n)
    return beta_cdf(1 - p, n - k, k + 1, complement=p)


def normal_quantile(p: float) -> float:
    """Return the z with P(Z <= z) = p.

    Raises:
        ValueError: p is below 1e-100, or 1 or more.
    """
    _require_quantile(p)
    return NormalDist().inv_cdf(p)


def student_t_sf(t: float, df: float) -> float:
    """Return P(T > t) for Student's t, from I_x(df/2, 1/2) at x = df / (df + t^2).

    Raises:
        ValueError: t is not finite or df is below 1.
    """
    _require_degrees(df)
    if not math.isfinite(t):
        raise ValueError(f"The argument of Student's t must be a finite number, not {t}.")
    ratio = t / math.sqrt(df)
    square = ratio * ratio
    x, y = 1 / (1 + square), (1 / (1 + 1 / square) if square > 0 else 0.0)
    upper = beta_cdf(x, df / 2, 0.5, complement=y) / 2
    return upper if t > 0 else 1 - upper


def student_t_quantile(p: float, df: float) -> float:
    """Return the t with P(T <= t) = p.

    Args:
        p: A probability from 1e-100 to below 1.
        df: Degrees of freedom, at least 1.

    Raises:
        ValueError: An argument is out of range or not a number.
    """
    _require_degrees(df)
    _require_quantile(p)
    if p == _MEDIAN:
        return 0.0
    tail = min(p, 1 - p)
    magnitude = _upper_quantile(tail, df)
    return magnitude if p > _MEDIAN else -magnitude


def _upper_quantile(tail: float, df: float) -> float:
    def excess(t: float) -> tuple[float, float]:
        x, y = df / (df + t * t), t * t / (df + t * t)
        density = leading_term(x, y, df / 2, 0.5) * df / 2 / t
        return tail - student_t_sf(t, df), density

    low, high = 0.0, 1.0
    while student_t_sf(high, df) > tail:
        low, high = high, 2 * high
    return increasing_root(excess, low, high, (low + high) / 2)


def _require_binomial(n: int, p: float) -> None:
    require_samples(n)
    require_probability("success probability", p)


def _require_degrees(df: float) -> None:
    if not 1 <= df < math.inf:
        raise ValueError(f"The degrees of freedom must be at least 1 and finite, not {df}.")


def _require_quantile(p: float) -> None:
    if not _SMALLEST_P <= p < 1:
        raise ValueError(f"The p of a quantile must lie between 0 and 1, not {p}.")
