"""One mean against a limit: Student's t bounds (Student 1908, Biometrika 6:1-25)."""

import math

from app.domain.statistics.distributions import student_t_quantile
from app.domain.statistics.levels import level, require_finite, require_samples, rounded

SMALLEST_SAMPLE = 30


def lower_bound(
    n: int, mean: float, stderr: float, confidence: float, *, worst: float | None = None
) -> float | None:
    """Return the one-sided lower t bound on the true mean, to 12 significant digits.

    The level is exact for normal scores and approximate for others; docs/concepts/statistics.md has
    measured levels. For equal scores (stderr 0) t would claim certainty, although they do not
    show how much unseen scores vary. But n equal scores show that at most a share
    1 - alpha^(1/n) of all scores differ (Clopper & Pearson with no miss). If those are as bad as
    `worst`, the bound follows; without `worst` there is none.

    Args:
        n: Number of samples.
        mean: Their mean, in the metric's unit.
        stderr: The standard error of that mean, s / sqrt(n), in the same unit.
        confidence: 1 - alpha, between 0.5 and 1.
        worst: The least score that a sample can have, if there is one.

    Returns:
        The bound, or None if there is none: n is below SMALLEST_SAMPLE, or there is neither a
        spread nor `worst`.

    Raises:
        ValueError: A number is not finite, stderr is negative, n is below 1, `worst` is above
            the mean, or the confidence is outside (0.5, 1).
    """
    alpha = level(confidence)
    _require_sample(n, mean, stderr, worst)
    if n < SMALLEST_SAMPLE:
        return None
    if stderr > 0:
        return rounded(mean + student_t_quantile(alpha, n - 1) * stderr)
    if worst is None:
        return None
    unseen = -math.expm1(math.log(alpha) / n)
    return rounded(mean - unseen * (mean - worst))


def upper_bound(
    n: int, mean: float, stderr: float, confidence: float, *, worst: float | None = None
) -> float | None:
    """Return the one-sided upper t bound; see `lower_bound`, with `worst` the greatest score."""
    mirrored = lower_bound(n, -mean, stderr, confidence, worst=None if worst is None else -worst)
    return None if mirrored is None else -mirrored


def _require_sample(n: int, mean: float, stderr: float, worst: float | None) -> None:
    require_samples(n)
    require_finite("mean", mean)
    require_finite("standard error", stderr)
    if stderr < 0:
        raise ValueError(f"The standard error must be at least 0, not {stderr}.")
    if worst is not None:
        require_finite("worst score", worst)
        if worst > mean:
            raise ValueError("The worst possible score cannot be better than the mean.")
