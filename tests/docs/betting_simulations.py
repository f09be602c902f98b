"""Simulations of the betting bound for docs/concepts/statistics.md, in NumPy.

A distribution is a pair of scores and their shares; a sample is then a row of counts, whose wealth
is one product of matrices.
"""

import math

import numpy as np
from scipy import stats

from app.domain.statistics import proportions
from app.domain.statistics.betting import FRACTIONS
from app.domain.statistics.spending import look_alpha

SIMULATED = 4000
FIVE_POINTS = (1, 0.75, 0.5, 0.25, 0)
RUBRIC = (0.9, 0.06, 0.02, 0.01, 0.01)


def log_wealth(counts, scores, limit):
    """Return log K(limit) of each row of counts, from the definition."""
    gains = 1 + np.outer(np.asarray(scores) / limit - 1, FRACTIONS)
    return np.logaddexp.reduce(counts @ np.log(gains), axis=-1) - math.log(len(FRACTIONS))


def beta_points(a, b):
    """Return a beta distribution in bins of a hundredth of the range."""
    edges = np.linspace(0, 1, 101)
    return (edges[1:] + edges[:-1]) / 2, np.diff(stats.beta.cdf(edges, a, b))


SHAPES = {
    "1 less a jitter of 1e-6, 1 % zeros": ((1, 1 - 1e-6, 0), (0.5, 0.49, 0.01)),
    "five points .90/.06/.02/.01/.01": (FIVE_POINTS, RUBRIC),
    "Beta(9, 1)": beta_points(9, 1),
    "0 or 1, with 0.9": ((1, 0), (0.9, 0.1)),
    "Beta(1, 1), uniform": beta_points(1, 1),
}


def samples(shares, n, seed=6):
    return np.random.default_rng(seed).multinomial(n, shares, size=SIMULATED)


def passing_shares(scores, shares, n, limit, alpha=0.05):
    """Return how often n values pass by Student's t and by betting."""
    counts, scores = samples(shares, n), np.asarray(scores, dtype=float)
    means = counts @ scores / n
    squares = ((scores - means[:, None]) ** 2 * counts).sum(axis=1) / (n - 1)
    errors = np.sqrt(squares / n)
    spread = errors > 1e-12  # without a spread t has no bound
    bound = means - stats.t.ppf(1 - alpha, n - 1) * errors
    by_t = (spread & (bound >= limit)).mean()
    return by_t, (log_wealth(counts, scores, limit) >= -math.log(alpha)).mean()


def cluster_levels(clusters, rows, correlation, limit=0.85):
    """Return how often correlated rows at their limit pass: as if independent, and by cluster."""
    spread = 1 / correlation - 1
    hits = np.arange(rows + 1)
    shares = stats.betabinom.pmf(hits, rows, limit * spread, (1 - limit) * spread)
    counts = samples(shares / shares.sum(), clusters)
    needed = clusters * rows - proportions.misses_allowed(limit, clusters * rows, 0.95)
    by_row = (counts @ hits >= needed).mean()
    return by_row, (log_wealth(counts, hits / rows, limit) >= math.log(20)).mean()


def repeated_runs(truth, limit, n, correlation, runs, alpha=0.05):
    """Simulate runs of the same n prompts: return the shares that pass, by number of runs.

    Each prompt has its own rate of success. The first look is the exact binomial test of the first
    run, look k bets on the mean of k rows of each prompt. A cell holds after k runs if it passed at
    some look and the pooled value still keeps the limit.

    Returns:
        For each number of runs, the share of which every run passes by itself, of which some run
        does, and which hold.
    """
    random, spread = np.random.default_rng(9), 1 / correlation - 1
    rates = random.beta(truth * spread, (1 - truth) * spread, (SIMULATED, n))
    alone_at, first_at = (
        n - proportions.misses_allowed(limit, n, 1 - each) for each in (alpha, look_alpha(alpha, 1))
    )
    hits = np.zeros((SIMULATED, n), dtype=int)
    every, (some, looked) = np.ones(SIMULATED, bool), np.zeros((2, SIMULATED), bool)
    found = {}
    for run in range(1, runs + 1):
        rows = random.random((SIMULATED, n)) < rates
        hits += rows
        alone = rows.sum(axis=1) >= alone_at
        every, some = every & alone, some | alone
        if run == 1:
            looked |= rows.sum(axis=1) >= first_at
        else:
            counts = np.stack([(hits == k).sum(axis=1) for k in range(run + 1)], axis=1)
            wealth = log_wealth(counts, np.arange(run + 1) / run, limit)
            looked |= wealth >= -math.log(look_alpha(alpha, run))
        held = looked & (hits.mean(axis=1) / run >= limit)
        found[run] = every.mean(), some.mean(), held.mean()
    return found


def absorbed(limit, passes, first, last):
    """Return how often 0/1 values at their limit pass at some look from n = first to last."""
    alive, absorbed, needed = np.array([1.0]), 0.0, 0
    for n in range(1, last + 1):
        alive = np.append(alive * (1 - limit), 0) + np.append(0, alive * limit)
        if n < first:
            continue
        # One more value needs as many hits as before or more.
        while needed <= n and not passes(needed, n):
            needed += 1
        absorbed += alive[needed:].sum()
        alive[needed:] = 0
    return absorbed


def least_n(scores, shares, limit, power=0.8):
    """Return the least multiple of about 1 % of n at which betting has the power."""
    low, high = 1, 2
    while passing_shares(scores, shares, high, limit)[1] < power:
        low, high = high, 2 * high
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        enough = passing_shares(scores, shares, middle, limit)[1] >= power
        low, high = (low, middle) if enough else (middle, high)
    return high
