"""The parts of the exact paired bound, each against an independent computation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special, stats

from app.domain.statistics.tango import score, wins_needed
from app.domain.statistics.unconditional import Region, probability, worst_case
from tests.domain.statistics import enumeration

# Bounds are found by bisection, never finer than this.
DIFFERENCES = st.floats(-0.9, 0.9).map(lambda difference: round(difference, 9))


def members(region):
    """Return the tables in the region, as two arrays."""
    wins, losses = enumeration.tables(region.n)
    inside = wins >= np.array(region.needed)[wins + losses]
    return wins[inside], losses[inside]


@st.composite
def regions(draw):
    n, difference = draw(st.integers(1, 40)), draw(st.floats(-0.5, 0.5))
    return Region(n, wins_needed(n, difference, draw(st.floats(0.3, 3))))


@given(
    wins=st.integers(0, 20),
    losses=st.integers(0, 20),
    rest=st.integers(1, 60),
    difference=st.floats(-0.9, 0.9).filter(lambda difference: abs(difference) > 1e-3),
)
def test_the_score_uses_the_maximum_likelihood_estimate(wins, losses, rest, difference):
    n = wins + losses + rest

    def unlikelihood(q):
        rates = q + difference, q, 1 - 2 * q - difference
        return -sum(
            special.xlogy(k, rate) for k, rate in zip((wins, losses, rest), rates, strict=True)
        )

    least, most = max(0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12
    best = optimize.minimize_scalar(
        unlikelihood, bounds=(least, most), method="bounded", options={"xatol": 1e-11}
    ).x
    variance = n * (2 * best + difference * (1 - difference))

    expected = (wins - losses - n * difference) / math.sqrt(variance)

    assert score(wins, losses, n, difference) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_the_score_is_defined_where_its_variance_vanishes():
    assert score(0, 0, 10, 0.0) == 0
    assert score(0, 1, 10, -1.0) == math.inf


@given(n=st.integers(1, 20), difference=DIFFERENCES, z=st.floats(0.3, 3))
def test_wins_needed_names_exactly_the_tables_that_reach_z(n, difference, z):
    needed = wins_needed(n, difference, z)

    for wins, losses in zip(*enumeration.tables(n), strict=True):
        reaches = score(int(wins), int(losses), n, difference) >= z - 1e-9
        assert reaches == (wins >= needed[wins + losses])


@given(region=regions(), discordance=st.floats(0, 1), share=st.floats(-1, 1))
def test_the_probability_of_a_region_is_the_sum_over_its_tables(region, discordance, share):
    difference = discordance * share

    expected = enumeration.probability(*members(region), region.n, discordance, difference)

    assert probability(region, discordance, difference) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    ("n", "discordance", "difference"),
    [(300, 0.4, -0.05), (2_000, 0.1, 0.01), (10_000, 0.2, -0.02)],
)
def test_the_probability_of_many_pairs_agrees_with_scipys_binomials(n, discordance, difference):
    region = Region(n, wins_needed(n, difference, 0.5))
    share = (discordance + difference) / (2 * discordance)
    discordant = np.arange(n + 1)
    tails = stats.binom.sf(np.array(region.needed) - 1, discordant, share)

    expected = float((stats.binom.pmf(discordant, n, discordance) * tails).sum())

    assert probability(region, discordance, difference) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("discordance", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_probability_holds_where_only_one_side_ever_wins(discordance, sign):
    region = Region(20, wins_needed(20, -0.1, 1.0))

    expected = enumeration.probability(*members(region), 20, discordance, sign * discordance)

    assert probability(region, discordance, sign * discordance) == pytest.approx(expected)


@given(region=regions(), difference=st.floats(-0.5, 0.5))
def test_no_rate_of_discordance_is_worse_than_the_worst_case(region, difference):
    highest, position = worst_case(region, difference)

    dense = enumeration.size(*members(region), region.n, difference, points=100)
    discordance = abs(difference) + (1 - abs(difference)) * position
    assert highest >= dense - 1e-8
    assert highest == pytest.approx(probability(region, discordance, difference))
