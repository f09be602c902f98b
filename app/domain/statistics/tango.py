"""Tango's score statistic for a paired difference: how favourable one table is to a claim.

Tango (1998, Statistics in Medicine 17:891-908). By itself it does not keep its level (see
docs/concepts/statistics.md); here it only orders tables, and `unconditional` computes the level.
"""

import math

from app.domain.statistics.distributions import normal_quantile
from app.domain.statistics.levels import level

_BISECTIONS = 60


def score(wins: int, losses: int, n: int, difference: float) -> float:
    """Return Tango's T for the hypothesis that the true difference is `difference`.

    T = (b - c - n d) / sqrt(n (2 q + d (1 - d))), with q the maximum-likelihood estimate of
    P(only the reference succeeds) when the difference is d.

    Args:
        wins: Pairs in which only the candidate succeeds (b).
        losses: Pairs in which only the reference succeeds (c).
        n: All pairs, with those that agree.
        difference: P(candidate succeeds) - P(reference succeeds) under test, from -1 to 1.
    """
    linear = (2 * n - wins + losses) * difference - wins - losses
    constant = losses * difference * (1 - difference)
    q = (math.sqrt(max(linear**2 + 8 * n * constant, 0)) - linear) / (4 * n)
    variance = n * (2 * q + difference * (1 - difference))
    gap = wins - losses - n * difference
    if variance <= 0:
        return math.copysign(math.inf, gap) if gap else 0.0
    return gap / math.sqrt(variance)


def nominal_lower_bound(wins: int, losses: int, n: int, confidence: float) -> float:
    """Return the lower bound of Tango's interval, the difference at which T is just z.

    Nominal, because the true difference lies below it with a probability that can exceed
    1 - confidence: up to 7.1 % at 95 % for 30 pairs.

    Raises:
        ValueError: The confidence is outside (0.5, 1).
    """
    z = -normal_quantile(level(confidence))
    low, high = -1.0, (wins - losses) / n
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if score(wins, losses, n, middle) >= z else (low, middle)
    return low


def wins_needed(n: int, difference: float, z: float) -> list[int]:
    """Return, for m = 0 to n discordant pairs, the fewest wins with which T reaches z.

    T grows with wins and falls with losses, so the entry for m is that for m - 1 or one more;
    m + 1 means that no number of wins is enough. A T within 1e-9 of z reaches it, so that a table
    is never less favourable than itself.
    """
    needed, wins = [], 0
    for discordant in range(n + 1):
        losses = discordant - wins
        if losses >= 0 and score(wins, losses, n, difference) < z - 1e-9:
            wins += 1
        needed.append(wins)
    return needed
