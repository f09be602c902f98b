"""Levels of significance, checks of arguments, and the rounding of bounds."""

import math
from typing import Literal

Demand = Literal["at_least", "at_most"]

_DIGITS = 12
_COIN = 0.5


def level(confidence: float) -> float:
    """Return alpha = 1 - confidence, the greatest probability of a wrong pass.

    In binary 1 - 0.95 exceeds 0.05 by 4e-17; rounding gives the intended alpha.

    Raises:
        ValueError: The confidence is not between 0.5 and 1, both excluded.
    """
    if not _COIN < confidence < 1:
        raise ValueError(f"The confidence must lie between 0.5 and 1, not {confidence}.")
    return rounded(1 - confidence)


def require_level(alpha: float) -> None:
    """Raise ValueError unless 0 < alpha < 0.5, which NaN is not."""
    if not 0 < alpha < _COIN:
        raise ValueError(f"The level must lie between 0 and 0.5, not {alpha}.")


def rounded(bound: float) -> float:
    """Return the bound to 12 significant digits.

    Limits are short decimals. A bound that equals one in exact arithmetic may come out a few
    units in the last place below it; rounded, it equals the limit, and so a tie passes.
    """
    return float(f"{bound:.{_DIGITS}g}")


def require_count(successes: int, n: int) -> None:
    """Raise ValueError unless 0 <= successes <= n and n >= 1."""
    require_samples(n)
    if not 0 <= successes <= n:
        raise ValueError(f"There cannot be {successes} successes in {n} samples.")


def require_samples(n: int) -> None:
    """Raise ValueError unless n >= 1."""
    if n < 1:
        raise ValueError(f"There must be at least one sample, not {n}.")


def require_probability(name: str, value: float) -> None:
    """Raise ValueError unless 0 <= value <= 1, which NaN is not."""
    if not 0 <= value <= 1:
        raise ValueError(f"The {name} must lie between 0 and 1, not {value}.")


def require_finite(name: str, value: float) -> None:
    """Raise ValueError if the value is NaN or infinite."""
    if not math.isfinite(value):
        raise ValueError(f"The {name} must be a finite number, not {value}.")
