"""The level of the gate: no cell, and no set of cells, passes wrongly more often than alpha."""

import math

import numpy as np
import pytest
from scipy import stats

from app.domain.statistics.proportions import misses_allowed, power

ALPHAS = [0.1, 0.05, 0.01]
LIMITS = [0.01, 0.05, 0.5, 0.85, 0.9, 0.95, 0.99]


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("demand", ["at_least", "at_most"])
def test_a_system_at_its_limit_passes_with_probability_alpha_at_most(limit, demand, alpha):
    rate = 1 - limit if demand == "at_least" else limit
    for n in (*range(1, 61), 100, 250, 1000, 10_000):
        allowed = misses_allowed(limit, n, 1 - alpha, demand)
        if allowed is not None:
            assert stats.binom.cdf(allowed, n, rate) <= alpha * (1 + 1e-9)
        # The test is not stricter than necessary: one more miss would break the level.
        refused = 0 if allowed is None else allowed + 1
        assert stats.binom.cdf(refused, n, rate) > alpha * (1 - 1e-9)


@pytest.mark.parametrize("n", [59, 100, 304, 1000])
def test_a_system_below_its_limit_passes_less_often_still(n):
    passing = [power(0.9, truth, n, 0.95) for truth in np.linspace(0, 0.9, 19)]

    assert passing == sorted(passing)
    assert passing[-1] <= 0.05


@pytest.mark.parametrize("cells", [1, 6, 30])
def test_one_cell_at_its_limit_and_all_others_perfect_pass_with_probability_alpha_at_most(cells):
    """The least favourable case of an intersection-union test (Berger 1982)."""
    at_limit, perfect = power(0.85, 0.85, 100, 0.95), power(0.85, 1.0, 100, 0.95)

    assert perfect == 1
    assert math.prod([at_limit, *[perfect] * (cells - 1)]) <= 0.05


def test_the_level_of_an_intersection_holds_for_dependent_cells_too():
    """Cells measured on the same samples: the simulated gate passes no more often than one cell."""
    rng = np.random.default_rng(20)
    allowed = misses_allowed(0.85, 100, 0.95)
    luck = rng.random((20_000, 100))
    limits = np.array([0.85, 0.9, 1.0])

    passed = [((luck > limit).sum(axis=1) <= allowed) for limit in limits]

    together = np.logical_and.reduce(passed).mean()
    assert together <= passed[0].mean()
    assert together <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 20_000)


@pytest.mark.parametrize("cells", [2, 6, 12, 30])
def test_a_bonferroni_correction_only_costs_power(cells):
    plain = power(0.85, 0.95, 100, 0.95) ** cells
    corrected = power(0.85, 0.95, 100, 1 - 0.05 / cells) ** cells

    assert corrected < plain
