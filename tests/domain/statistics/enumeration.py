"""Exact probabilities by summing over every table, independent of the code under test."""

import numpy as np
from scipy import special, stats

from app.domain.statistics import paired, tango


def tables(n):
    """Return all (wins, losses) of n pairs as two arrays."""
    wins, losses = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    possible = wins + losses <= n
    return wins[possible], losses[possible]


def probability(wins, losses, n, discordance, difference):
    """Return the probability of the given tables under the trinomial distribution."""
    rates = (discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance
    counts = wins, losses, n - wins - losses
    logs = special.gammaln(n + 1) + sum(
        special.xlogy(count, max(rate, 0.0)) - special.gammaln(count + 1)
        for count, rate in zip(counts, rates, strict=True)
    )
    return float(np.exp(logs).sum())


def size(wins, losses, n, difference, points=200):
    """Return the greatest probability of the given tables over all rates of discordance."""
    positions = np.sin(np.linspace(0, np.pi / 2, points)) ** 2
    least = abs(difference)
    rates = least + (1 - least) * positions
    return max(probability(wins, losses, n, rate, difference) for rate in rates)


def nominal_region(n, margin, confidence):
    """Return the tables that would pass if Tango's interval decided."""
    wins, losses = tables(n)
    z = stats.norm.ppf(confidence)
    scores = [tango.score(b, c, n, -margin) for b, c in zip(wins, losses, strict=True)]
    passing = np.array(scores) >= z
    return wins[passing], losses[passing]


def gate_region(n, margin, confidence):
    """Return the tables that pass the gate.

    Bounds are in the order of Tango's (tested by itself), so the least favourable table that
    passes is found by bisection.
    """
    wins, losses = tables(n)
    order = [
        tango.nominal_lower_bound(int(b), int(c), n, confidence)
        for b, c in zip(wins, losses, strict=True)
    ]
    ranked = np.argsort(order, kind="stable")
    low, high = -1, len(ranked)
    while high - low > 1:
        middle = (low + high) // 2
        b, c = int(wins[ranked[middle]]), int(losses[ranked[middle]])
        bound = paired.lower_bound(paired.PairedCounts(n - b - c, b, c, 0), confidence)
        low, high = (low, middle) if bound >= -margin else (middle, high)
    return wins[ranked[high:]], losses[ranked[high:]]
