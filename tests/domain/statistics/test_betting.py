"""The betting bound: exact arithmetic as oracle, monotonicity, extremes, and replay."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.statistics.betting import (
    FRACTIONS,
    Histogram,
    combined,
    histogram,
    lower_bound,
    passes,
    smallest_n_that_can_pass,
    upper_bound,
)

STEP = Fraction(1, 10**9)
UNIT_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=60)
LEVEL_VALUES = st.lists(st.integers(0, 128).map(lambda k: k / 128), min_size=1, max_size=40)
CONFIDENCES = st.sampled_from([0.8, 0.95, 0.96, 0.99, 1 - 0.05 * 0.2 / 90])


def wealth(values, m):
    """Return K(m) in exact arithmetic, from its definition."""
    total = Fraction(0)
    for c in FRACTIONS:
        total += math.prod(1 + Fraction(str(c)) * (Fraction(x) / m - 1) for x in values)
    return total / len(FRACTIONS)


def lower(values, confidence, low=0.0, high=1.0):
    return lower_bound(histogram(values, low, high, "at_least"), confidence)


def upper(values, confidence, low=0.0, high=1.0):
    return upper_bound(histogram(values, low, high, "at_most"), confidence)


@given(values=LEVEL_VALUES, confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_the_bound_is_where_the_wealth_in_exact_arithmetic_reaches_its_goal(values, confidence):
    goal = 1 / (1 - Fraction(str(confidence)))

    bound = round(Fraction(lower(values, confidence)) / STEP) * STEP

    assert bound == 0 or wealth(values, bound) >= goal
    assert wealth(values, bound + STEP) < goal


@given(values=UNIT_VALUES)
def test_values_between_levels_never_earn_more_than_they_are_worth(values):
    bound = round(Fraction(lower(values, 0.95)) / STEP) * STEP

    assert bound == 0 or wealth(values, bound) >= 20


@pytest.mark.parametrize("shape", [(9, 1), (2, 2), (1, 9), (90, 10)])
def test_counting_on_levels_costs_next_to_nothing(shape):
    values = np.random.default_rng(4).beta(*shape, size=100).tolist()
    bound = Fraction(lower(values, 0.95))
    slack = (Fraction(sum(values)) / 100 - bound) / 50

    assert wealth(values, bound + slack) < 20


@given(values=UNIT_VALUES, confidence=CONFIDENCES, limit=st.floats(-0.1, 1.1))
def test_values_pass_exactly_if_their_bound_keeps_the_limit(values, confidence, limit):
    shown = histogram(values, 0, 1, "at_least"), histogram(values, 0, 1, "at_most")
    below, above = lower_bound(shown[0], confidence), upper_bound(shown[1], confidence)

    for each in (limit, below, math.nextafter(below, 2), math.nextafter(below, -2)):
        assert passes(shown[0], each, confidence, "at_least") is (below >= each)
    for each in (limit, above, math.nextafter(above, 2), math.nextafter(above, -2)):
        assert passes(shown[1], each, confidence, "at_most") is (above <= each)


@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-3, 1e6),
    shares=UNIT_VALUES,
    limit=st.floats(0, 1),
)
def test_passing_agrees_with_the_bound_in_any_range(low, width, shares, limit):
    high = low + width
    values = [min(low + share * width, high) for share in shares]
    limit = low + limit * width
    shown = histogram(values, low, high, "at_least"), histogram(values, low, high, "at_most")

    assert passes(shown[0], limit, 0.95, "at_least") is (lower_bound(shown[0], 0.95) >= limit)
    assert passes(shown[1], limit, 0.95, "at_most") is (upper_bound(shown[1], 0.95) <= limit)


@given(values=UNIT_VALUES, where=st.integers(0, 59), better=st.floats(0, 1))
def test_a_better_value_never_lowers_the_bound(values, where, better):
    improved = list(values)
    where %= len(values)
    improved[where] = max(values[where], better)

    assert lower(improved, 0.95) >= lower(values, 0.95)
    assert upper(improved, 0.95) >= upper(values, 0.95)


def test_the_least_improvement_that_is_counted_raises_the_bound():
    values = [0.75] * 10
    assert lower([*values[1:], 0.76], 0.95) > lower(values, 0.95)
    assert lower([*values[1:], 0.74], 0.95) < lower(values, 0.95)


@given(values=UNIT_VALUES, data=st.data())
def test_the_order_of_the_values_changes_nothing(values, data):
    shuffled = data.draw(st.permutations(values))

    assert histogram(shuffled, 0, 1, "at_least") == histogram(values, 0, 1, "at_least")


@given(values=UNIT_VALUES, confidence=CONFIDENCES)
def test_the_mean_lies_between_the_bounds(values, confidence):
    mean = math.fsum(values) / len(values)

    assert lower(values, confidence) <= mean + 1e-12
    assert upper(values, confidence) >= mean - 1e-12


@given(values=LEVEL_VALUES)
def test_the_upper_bound_mirrors_the_lower_one(values):
    mirrored = [1 - value for value in values]
    assert upper(values, 0.95) == pytest.approx(1 - lower(mirrored, 0.95), abs=1e-12)


@given(values=LEVEL_VALUES)
def test_the_bound_follows_the_unit_of_the_values(values):
    scaled = [50 + 200 * value for value in values]
    expected = 50 + 200 * lower(values, 0.95)
    assert lower(scaled, 0.95, 50, 250) == pytest.approx(expected, abs=1e-6)


@given(values=UNIT_VALUES)
def test_more_confidence_never_raises_the_bound(values):
    bounds = [lower(values, confidence) for confidence in (0.8, 0.95, 0.96, 0.99, 0.9999)]
    assert bounds == sorted(bounds, reverse=True)


def test_the_worst_values_show_nothing_and_the_best_never_everything():
    assert lower([0.0] * 1000, 0.95) == 0
    assert upper([1.0] * 1000, 0.95) == 1
    assert 0.99 < lower([1.0] * 1000, 0.95) < 1
    assert 0 < upper([0.0] * 1000, 0.95) < 0.01


def test_values_barely_above_the_worst_show_nothing():
    assert lower([2e-6] * 3, 0.95) == 0
    assert lower([1e-7] * 100, 0.95) == 0


def test_one_value_shows_little():
    assert lower([1.0], 0.95) == pytest.approx(0.028, abs=1e-3)
    assert lower([0.5], 0.95) == pytest.approx(0.014, abs=1e-3)


@pytest.mark.parametrize(("limit", "passed"), [(-1, True), (0, True), (1, False), (2, False)])
def test_a_limit_at_the_edge_of_the_range_is_always_or_never_kept(limit, passed):
    assert passes(histogram([1.0] * 99, 0, 1, "at_least"), limit, 0.95, "at_least") is passed
    assert passes(histogram([0.0] * 99, 0, 1, "at_most"), 1 - limit, 0.95, "at_most") is passed


@pytest.mark.parametrize(
    ("limit", "confidence", "n"),
    [(0.5, 0.95, 6), (0.85, 0.95, 27), (0.95, 0.95, 84), (0.95, 0.96, 89), (0.99, 0.95, 427)],
)
def test_the_smallest_n_is_the_first_that_passes(limit, confidence, n):
    assert smallest_n_that_can_pass(limit, 0, 1, confidence, "at_least") == n
    assert smallest_n_that_can_pass(1 - limit, 0, 1, confidence, "at_most") == n
    for size in (n - 1, n, n + 1):
        perfect = histogram([1.0] * size, 0, 1, "at_least")
        assert passes(perfect, limit, confidence, "at_least") is (size >= n)


def test_a_limit_that_is_no_demand_passes_with_one_value():
    assert smallest_n_that_can_pass(0, 0, 1, 0.95, "at_least") == 1
    assert smallest_n_that_can_pass(7, 1, 5, 0.95, "at_most") == 1


# The registry repeats old decisions: a change of these numbers is a change of the verifier.
REPLAYED = [
    ([1.0] * 300 + [0.0] * 3, 0, 1, 0.95, 0.965199896, 0.999999546),
    ([5, 4, 4, 5, 3, 5, 5, 2, 5, 1] * 20, 1, 5, 0.96, 3.588576436, 4.190938172),
    ([k / 999 for k in range(1000)], 0, 1, 0.99, 0.466676071, 0.533323929),
    ([k * k % 101 - 50 for k in range(500)], -50, 50, 0.95, -3.7928904, 4.575109),
    ([0.97, 0.99, 0.931] * 40, 0, 1, 0.99, 0.91505614, 0.970973418),
]


@pytest.mark.parametrize(("values", "low", "high", "confidence", "least", "greatest"), REPLAYED)
def test_bounds_replay_bit_for_bit(values, low, high, confidence, least, greatest):
    assert lower(values, confidence, low, high) == least
    assert upper(values, confidence, low, high) == greatest


def test_equal_histograms_are_equal_keys():
    first, second = (histogram([0.1, 0.9], 0, 1, "at_least") for _ in range(2))
    assert {first: 1}[second] == 1
    assert isinstance(first, Histogram)
    assert first.n == 2


@given(values=UNIT_VALUES, others=UNIT_VALUES, times=st.integers(0, 3))
def test_histograms_combine_to_that_of_all_values(values, others, times):
    parts = [(histogram(values, 0, 1, "at_most"), 1), (histogram(others, 0, 1, "at_most"), times)]
    assert combined(parts) == histogram(values + times * others, 0, 1, "at_most")


GOOD, BAD = histogram([0.5], 0, 1, "at_least"), histogram([0.5], 0, 1, "at_most")


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: histogram([], 0, 1, "at_least"), id="no-values"),
        pytest.param(lambda: histogram([0.5, math.nan], 0, 1, "at_least"), id="nan"),
        pytest.param(lambda: histogram([0.5, math.inf], 0, 1, "at_most"), id="infinite"),
        pytest.param(lambda: histogram([1 + 1e-12], 0, 1, "at_least"), id="above"),
        pytest.param(lambda: histogram([-1e-12], 0, 1, "at_least"), id="below"),
        pytest.param(lambda: histogram([1 + 1e-12], 0, 1, "at_most"), id="above-at-most"),
        pytest.param(lambda: histogram([-1e-12], 0, 1, "at_most"), id="below-at-most"),
        pytest.param(lambda: histogram([1], 1, 1, "at_least"), id="empty-range"),
        pytest.param(lambda: histogram([1], 2, 1, "at_least"), id="reversed-range"),
        pytest.param(lambda: histogram([1], 0, math.inf, "at_least"), id="infinite-range"),
        pytest.param(lambda: histogram([1], math.nan, 1, "at_least"), id="range-nan"),
        pytest.param(lambda: histogram([1], -1e308, 1e308, "at_least"), id="range-overflows"),
        pytest.param(lambda: combined([(GOOD, 1), (BAD, 1)]), id="combined-sides"),
        pytest.param(lambda: combined([(GOOD, 0)]), id="combined-nothing"),
        pytest.param(lambda: lower_bound(BAD, 0.95), id="lower-of-at-most"),
        pytest.param(lambda: upper_bound(GOOD, 0.95), id="upper-of-at-least"),
        pytest.param(lambda: lower_bound(GOOD, 1), id="certainty"),
        pytest.param(lambda: passes(GOOD, 0.1, 0.95, "at_most"), id="another-demand"),
        pytest.param(lambda: passes(GOOD, math.nan, 0.95, "at_least"), id="limit-nan"),
        pytest.param(lambda: passes(GOOD, 0.1, 0.5, "at_least"), id="coin"),
        pytest.param(lambda: smallest_n_that_can_pass(1, 0, 1, 0.95, "at_least"), id="limit-1"),
        pytest.param(lambda: smallest_n_that_can_pass(0, 0, 1, 0.95, "at_most"), id="limit-0"),
        pytest.param(lambda: smallest_n_that_can_pass(9, 0, 1, 0.95, "at_least"), id="outside"),
        pytest.param(lambda: smallest_n_that_can_pass(0, 1, 1, 0.95, "at_least"), id="no-range"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(call):
    with pytest.raises(ValueError, match=r"\.$"):
        call()
