"""Paired non-inferiority: published examples, the exact level, and monotonicity."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from app.domain.statistics import paired, proportions
from app.domain.statistics.paired import (
    PairedCounts,
    lower_bound,
    mean_lower_bound,
    mean_upper_bound,
    power,
    upper_bound,
)
from app.domain.statistics.tango import nominal_lower_bound
from app.domain.statistics.unconditional import worst_case
from tests.domain.statistics import enumeration


def discordant(wins, losses, n):
    return PairedCounts(n - wins - losses, wins, losses, 0)


def wilson(successes, n, z):
    centre, spread = (
        successes + z * z / 2,
        z * math.sqrt(successes * (1 - successes / n) + z * z / 4),
    )
    return (centre - spread) / (n + z * z), (centre + spread) / (n + z * z)


def newcombe_method_10(pairs, confidence):
    """The lower bound of Newcombe (1998, Statistics in Medicine 17:2635-2650), method 10."""
    a, b, c, d = pairs.both, pairs.only_candidate, pairs.only_reference, pairs.neither
    n, z = pairs.n, stats.norm.ppf(confidence)
    first, second = (a + b) / n, (a + c) / n
    low, high = wilson(a + b, n, z)[0], wilson(a + c, n, z)[1]
    product = (a + b) * (c + d) * (a + c) * (b + d)
    cross = a * d - b * c
    cross = max(cross - n / 2, 0) if cross > 0 else cross
    phi = cross / math.sqrt(product) if product else 0
    down, up = first - low, high - second
    return first - second - math.sqrt(down**2 - 2 * phi * down * up + up**2)


# Complete response before and after consolidation therapy (Cavo et al. 2012), as worked in
# Fagerland, Lydersen & Laake, "Statistical Analysis of Contingency Tables" (2017), ch. 8, and
# reproduced by the tests of their R package contingencytables.
CAVO = PairedCounts(both=59, only_candidate=6, only_reference=16, neither=80)


def test_tangos_interval_reproduces_the_published_example():
    assert round(nominal_lower_bound(6, 16, 161, 0.975), 4) == -0.1240
    assert round(-nominal_lower_bound(16, 6, 161, 0.975), 4) == -0.0054


def test_newcombes_interval_reproduces_the_published_example():
    assert round(newcombe_method_10(CAVO, 0.975), 4) == -0.1186
    assert round(-newcombe_method_10(CAVO.mirrored(), 0.975), 4) == -0.0046


def test_the_exact_interval_contains_the_published_one_and_little_more():
    assert -0.1290 < lower_bound(CAVO, 0.975) < -0.1240
    assert -0.0054 < upper_bound(CAVO, 0.975) < -0.0004


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param(PairedCounts(150, 10, 10, 30), id="equal"),
        pytest.param(PairedCounts(100, 25, 15, 60), id="better"),
        pytest.param(PairedCounts(160, 4, 14, 22), id="worse"),
        pytest.param(PairedCounts(60, 50, 50, 40), id="very-discordant"),
    ],
)
def test_the_exact_bound_is_near_newcombes(pairs):
    assert lower_bound(pairs, 0.95) == pytest.approx(newcombe_method_10(pairs, 0.95), abs=0.012)


@pytest.mark.parametrize("n", [1, 5, 149, 299])
def test_without_a_discordant_pair_the_bound_is_that_of_no_loss_in_n(n):
    bound = proportions.upper_bound(0, n, 0.95)

    assert lower_bound(PairedCounts(n, 0, 0, 0), 0.95) == pytest.approx(-bound, abs=2e-9)
    assert upper_bound(PairedCounts(0, 0, 0, n), 0.95) == pytest.approx(bound, abs=2e-9)


def test_when_every_pair_is_lost_the_bound_is_the_worst_value():
    assert lower_bound(discordant(0, 20, 20), 0.95) == -1
    assert upper_bound(discordant(20, 0, 20), 0.95) == 1


def test_when_every_pair_is_won_the_bound_is_that_of_a_proportion():
    """The worst rate of discordance is 1, where the difference is twice the wins less one."""
    won = proportions.lower_bound(30, 30, 0.95)

    assert lower_bound(discordant(30, 0, 30), 0.95) == pytest.approx(2 * won - 1, abs=2e-9)


@pytest.mark.parametrize(
    ("n", "confidence"), [(1, 0.95), (2, 0.95), (9, 0.95), (6, 0.8), (6, 0.99)]
)
def test_a_pair_that_changes_for_the_better_never_lowers_the_bound(n, confidence):
    bounds = {
        (b, c): lower_bound(discordant(b, c, n), confidence)
        for b, c in itertools.product(range(n + 1), repeat=2)
        if b + c <= n
    }
    for (b, c), bound in bounds.items():
        for better in ((b + 1, c), (b, c - 1), (b + 1, c - 1)):
            assert bounds.get(better, 1) >= bound - 1e-8


@pytest.mark.parametrize("n", [6, 9])
def test_bounds_are_in_the_order_of_tangos(n):
    wins, losses = (side.tolist() for side in enumeration.tables(n))
    pairs = list(zip(wins, losses, strict=True))
    pairs.sort(key=lambda pair: nominal_lower_bound(*pair, n, 0.95))

    bounds = [lower_bound(discordant(b, c, n), 0.95) for b, c in pairs]

    assert all(after >= before - 1e-8 for before, after in itertools.pairwise(bounds))


LEVEL_GRID = [
    *itertools.product([1, 10, 20, 30, 50], [0.0, 0.02, 0.05, 0.1], [0.9, 0.95]),
    (133, 0.02, 0.95),  # where Tango's interval lets 6.8 % pass
]


@pytest.mark.parametrize(("n", "margin", "confidence"), LEVEL_GRID)
def test_the_exact_level_never_exceeds_alpha(n, margin, confidence):
    wins, losses = enumeration.gate_region(n, margin, confidence)

    assert enumeration.size(wins, losses, n, -margin) <= (1 - confidence) * (1 + 1e-6)


@given(deficit=st.floats(0, 0.5), worse=st.floats(0, 0.2), discordance=st.floats(0, 0.3))
def test_a_system_worse_than_the_margin_passes_less_often_still(deficit, worse, discordance):
    """The level at the margin is therefore the level over every system worse than the margin."""
    region = enumeration.nominal_region(30, 0.1, 0.95)
    rate = deficit + discordance

    here = enumeration.probability(*region, 30, rate, -deficit)
    more_losses = enumeration.probability(*region, 30, rate + worse, -deficit - worse)

    assert more_losses <= here + 1e-12


@pytest.mark.parametrize(
    ("n", "margin", "discordance"),
    [(20, 0.1, 0.1), (30, 0.1, 0.4), (30, 0.2, 0.0), (60, 0.05, 0.2)],
)
def test_power_is_the_probability_of_the_tables_that_pass(n, margin, discordance):
    wins, losses = enumeration.gate_region(n, margin, 0.95)

    expected = enumeration.probability(wins, losses, n, discordance, 0.0)

    assert power(margin, discordance, n, 0.95) == pytest.approx(expected, abs=1e-9)


def test_no_region_is_evaluated_twice_in_the_search_for_those_that_pass(monkeypatch):
    evaluated = []

    def recorded(region, difference):
        evaluated.append(tuple(region.needed))
        return worst_case(region, difference)

    monkeypatch.setattr(paired, "worst_case", recorded)
    paired.passing_region(0.07, 40, 0.95)

    assert 0 < len(evaluated) == len(set(evaluated))


def test_paired_means_agree_with_scipys_paired_test():
    rng = np.random.default_rng(7)
    reference = rng.normal(0.7, 0.1, 50)
    candidate = reference + rng.normal(0.01, 0.05, 50)
    gaps = candidate - reference
    test = {
        side: stats.ttest_rel(candidate, reference, alternative=side).confidence_interval(0.95)
        for side in ("greater", "less")
    }
    summary = 50, gaps.mean(), gaps.var(ddof=1), 0.95

    assert mean_lower_bound(*summary) == pytest.approx(test["greater"].low)
    assert mean_upper_bound(*summary) == pytest.approx(test["less"].high)


def test_identical_outputs_are_as_good_as_pairs_without_a_loss():
    bound = mean_lower_bound(149, 0, 0, 0.95, worst=-1)

    assert bound == pytest.approx(lower_bound(PairedCounts(149, 0, 0, 0), 0.95), abs=2e-9)
    assert mean_upper_bound(149, 0, 0, 0.95, worst=1) == -bound
    assert mean_lower_bound(149, 0, 0, 0.95) is None


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: PairedCounts(-1, 1, 1, 1), id="negative-count"),
        pytest.param(lambda: PairedCounts(0, 0, 0, 0), id="no-pairs"),
        pytest.param(lambda: lower_bound(PairedCounts(1, 0, 0, 0), 0.5), id="confidence-of-a-coin"),
        pytest.param(lambda: mean_lower_bound(0, 0, 0, 0.95), id="no-paired-mean"),
        pytest.param(lambda: mean_lower_bound(30, 0, -1, 0.95), id="variance-negative"),
        pytest.param(lambda: mean_upper_bound(30, 0, math.nan, 0.95), id="variance-nan"),
        pytest.param(lambda: power(-0.1, 0.1, 10, 0.95), id="margin-negative"),
        pytest.param(lambda: power(0.1, math.nan, 10, 0.95), id="discordance-nan"),
        pytest.param(lambda: power(0.1, 0.1, 0, 0.95), id="power-of-no-pairs"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(call):
    with pytest.raises(ValueError, match=r"\.$"):
        call()


@pytest.mark.parametrize(("n", "margin"), [(1, 0.97), (2, 0.02), (2, 0.8), (10, 0.1)])
def test_the_passing_region_holds_exactly_the_tables_whose_bound_passes(n, margin):
    region = paired.passing_region(margin, n, 0.95)
    for wins, losses in itertools.product(range(n + 1), repeat=2):
        if wins + losses <= n:
            bound = lower_bound(discordant(wins, losses, n), 0.95)
            assert (bound >= -margin) is (wins >= region.needed[wins + losses])
