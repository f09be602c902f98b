"""How often a system exactly at its limit passes the betting bound: never above alpha."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from app.domain.statistics.betting import histogram, passes

SIMULATED = 2000
# Shares of scores 1, 0.75, 0.5, 0.25 and 0; the mean is 0.9575.
RUBRIC = (0.9, 0.06, 0.02, 0.01, 0.01)


def passed(values, limit, confidence=0.95):
    return passes(histogram(values, 0, 1, "at_least"), limit, confidence, "at_least")


def exact_level(scores, shares, n, confidence=0.95):
    """Return how often n values from a distribution of three points show their own mean."""
    limit = float(np.dot(scores, shares))
    chance = 0.0
    for first, second in itertools.product(range(n + 1), repeat=2):
        counts = first, second, n - first - second
        if counts[2] >= 0 and passed(np.repeat(scores, counts).tolist(), limit, confidence):
            chance += stats.multinomial.pmf(counts, n, shares)
    return chance


def simulated_level(draw, limit):
    """Return the share of samples that pass, plus three standard errors."""
    random = np.random.default_rng(20)
    share = np.mean([passed(draw(random).tolist(), limit) for _ in range(SIMULATED)])
    return share + 3 * math.sqrt(max(share, 0.001) / SIMULATED)


@pytest.mark.parametrize("n", [10, 30])
@pytest.mark.parametrize(
    ("scores", "shares"),
    [
        ((1, 1 - 1e-6, 0), (0.5, 0.49, 0.01)),
        ((1, 0.5, 0), (0.8, 0.1, 0.1)),
        ((1, 0.75, 0), (0.3, 0.6, 0.1)),
        ((1, 0.1, 0), (0.5, 0.3, 0.2)),
        ((1, 0.5, 0), (0.05, 0.9, 0.05)),
        ((0.9, 0.8, 0.1), (0.6, 0.3, 0.1)),
        ((1, 0.01, 0), (0.02, 0.3, 0.68)),
    ],
)
def test_the_exact_level_of_three_points_is_never_above_alpha(scores, shares, n):
    for confidence in (0.8, 0.95):
        assert exact_level(scores, shares, n, confidence) <= 1 - confidence


@pytest.mark.parametrize("n", [30, 100, 300])
def test_scores_near_1_with_rare_zeros_keep_the_level(n):
    def draw(random):
        return np.where(random.random(n) < 0.01, 0.0, 1 - 1e-6 * random.random(n))

    assert simulated_level(draw, 0.99 * (1 - 0.5e-6)) <= 0.05


@pytest.mark.parametrize("n", [30, 100, 300])
def test_a_rubric_of_five_points_keeps_the_level(n):
    scores = np.array([1, 0.75, 0.5, 0.25, 0])

    def draw(random):
        return random.choice(scores, n, p=RUBRIC)

    assert simulated_level(draw, float(scores @ RUBRIC)) <= 0.05


@pytest.mark.parametrize("n", [30, 100, 300])
def test_scores_with_a_long_tail_keep_the_level(n):
    assert simulated_level(lambda random: random.beta(9, 1, n), 0.9) <= 0.05


@pytest.mark.parametrize(
    ("clusters", "rows", "correlation"),
    [(100, 4, 0.3), (40, 10, 0.3), (20, 20, 0.3), (10, 40, 0.6)],
)
def test_means_of_correlated_rows_keep_the_level(clusters, rows, correlation):
    # Rows of a cluster share a beta-distributed rate, so rates correlate by `correlation`.
    spread = 1 / correlation - 1

    def draw(random):
        rates = random.beta(0.85 * spread, 0.15 * spread, clusters)
        return random.binomial(rows, rates) / rows

    assert simulated_level(draw, 0.85) <= 0.05


@pytest.mark.parametrize("limit", [0.5, 0.85, 0.95])
def test_looking_after_every_value_keeps_the_level(limit):
    """No look of the first thousand passes with more than alpha: exact, by absorption."""
    alive, absorbed, needed = np.array([1.0]), 0.0, 0
    for n in range(1, 1001):
        alive = np.append(alive * (1 - limit), 0) + np.append(0, alive * limit)
        # One more value needs as many successes as before or more.
        while needed <= n and not passed([1.0] * needed + [0.0] * (n - needed), limit):
            needed += 1
        absorbed += alive[needed:].sum()
        alive[needed:] = 0

    assert 0.01 < absorbed <= 0.05
