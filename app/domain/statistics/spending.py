"""How the level of a cell is divided among its looks, and that of a suite among attempts.

The parts never add up to more than alpha, however many there are. So the probability that a system
at its limit passes at some look is at most alpha, whatever decides when the looks end.
"""

import math
from typing import Final

from app.domain.statistics.levels import require_level

FIRST_LOOK: Final = 0.8


def look_alpha(alpha: float, look: int) -> float:
    """Return the level of one look: 0.8 alpha for the first, shares of 0.2 alpha for the others.

    Look k >= 2 has 0.2 alpha * 6 / (pi^2 (k - 1)^2), and 1 / k^2 adds up to pi^2 / 6 (Euler).

    Args:
        alpha: The greatest probability of a wrong pass at any look.
        look: The number of the look, from 1.

    Raises:
        ValueError: Alpha is not between 0 and 0.5, both excluded, or the look is below 1.
    """
    _require(alpha, "look", look)
    if look == 1:
        return FIRST_LOOK * alpha
    return (1 - FIRST_LOOK) * alpha * 6 / (math.pi * (look - 1)) ** 2


def attempt_alpha(alpha: float, attempt: int) -> float:
    """Return the level of one attempt, alpha / (k (k + 1)), which adds up to alpha.

    Args:
        alpha: The greatest probability that a system at its limit passes in any attempt.
        attempt: The number of the attempt, from 1: how many contents were measured so far.

    Raises:
        ValueError: Alpha is not between 0 and 0.5, both excluded, or the attempt is below 1.
    """
    _require(alpha, "attempt", attempt)
    return alpha / (attempt * (attempt + 1))


def _require(alpha: float, name: str, number: int) -> None:
    require_level(alpha)
    if number < 1:
        raise ValueError(f"The first {name} has the number 1, so there is no {name} {number}.")
