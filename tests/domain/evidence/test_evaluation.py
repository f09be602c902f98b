"""Reported cells against their suite, and the counts that a rounded proportion can mean."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.evidence.evaluation import CellResult, possible_successes, result_faults
from tests.support.evidence import a_cell, a_key, a_suite


def faults(*results):
    return result_faults(a_suite(), [CellResult(key, cell) for key, cell in results])


def codes(key, cell):
    return [fault.code for fault in faults((key, cell))]


GOOD = (a_key(), a_cell())


@pytest.mark.parametrize(
    ("key", "cell", "expected"),
    [
        pytest.param(*GOOD, [], id="good"),
        pytest.param(a_key(), a_cell(0.0, 1), [], id="no-success-in-one"),
        pytest.param(a_key(), a_cell(stderr=0.0), [], id="a-stderr-of-zero"),
        pytest.param(a_key("bleu"), a_cell(31.27, 7), [], id="a-mean"),
        pytest.param(a_key(persona="pirate"), a_cell(), ["unknown-persona"], id="persona"),
        pytest.param(a_key(locale="fr"), a_cell(), ["unknown-locale"], id="locale"),
        pytest.param(a_key("wit"), a_cell(), ["unknown-metric"], id="metric"),
        pytest.param(a_key(), a_cell(0.0, 0), ["no-samples"], id="no-samples"),
        pytest.param(a_key(), a_cell(0.0, -3), ["no-samples"], id="negative-samples"),
        pytest.param(a_key(), a_cell(math.nan), ["value-out-of-range"], id="nan"),
        pytest.param(a_key("bleu"), a_cell(math.nan), ["value-out-of-range"], id="nan-mean"),
        pytest.param(a_key("latency"), a_cell(math.inf), ["value-out-of-range"], id="infinite"),
        pytest.param(a_key(), a_cell(1.001), ["value-out-of-range"], id="above-one"),
        pytest.param(a_key("bleu"), a_cell(-0.1), ["value-out-of-range"], id="below-the-range"),
        pytest.param(a_key(), a_cell(0.5, 3), ["not-a-proportion"], id="half-a-success"),
        pytest.param(a_key(), a_cell(stderr=-0.1), ["stderr-out-of-range"], id="stderr-negative"),
        pytest.param(a_key(), a_cell(stderr=math.nan), ["stderr-out-of-range"], id="stderr-nan"),
        pytest.param(a_key(), a_cell(stderr=math.inf), ["stderr-out-of-range"], id="stderr-inf"),
        pytest.param(
            a_key("wit", "pirate", "fr"),
            a_cell(math.nan, 0, math.nan),
            [
                "unknown-persona",
                "unknown-locale",
                "no-samples",
                "stderr-out-of-range",
                "unknown-metric",
            ],
            id="everything-at-once",
        ),
    ],
)
def test_a_cell_must_agree_with_its_suite(key, cell, expected):
    assert codes(key, cell) == expected


def test_a_cell_is_reported_once():
    assert [fault.code for fault in faults(GOOD, GOOD, GOOD)] == ["cell-repeated"] * 2


def test_no_fault_hides_another():
    bad = (a_key(), a_cell(2.0))

    assert [fault.code for fault in faults(bad, bad)] == [
        "cell-repeated",
        "value-out-of-range",
        "value-out-of-range",
    ]


@pytest.mark.parametrize(
    ("key", "cell", "message"),
    [
        pytest.param(
            a_key("wit"),
            a_cell(),
            "brand-voice@3 has no metric wit; it has tone, toxicity, bleu, latency.",
            id="the-suites-metrics",
        ),
        pytest.param(
            a_key("bleu"),
            a_cell(101),
            "The value of bleu for novice/en is 101; it must lie in [0, 100].",
            id="the-range",
        ),
        pytest.param(
            a_key(),
            a_cell(0.5, 3),
            "tone for novice/en: 0.5 of 3 samples is not a whole number of successes; "
            "a proportion scores each sample 0 or 1.",
            id="the-proportion",
        ),
    ],
)
def test_a_fault_names_a_remedy(key, cell, message):
    assert [fault.message for fault in faults((key, cell))] == [message]


@st.composite
def counts(draw, most=5_000):
    n = draw(st.integers(1, most))
    return draw(st.integers(0, n)), n


@given(counts())
def test_an_exact_proportion_stands_for_its_own_count_alone(counted):
    successes, n = counted

    assert possible_successes(a_cell(successes / n, n)) == (successes, successes)


@given(counted=counts(), digits=st.integers(3, 8))
def test_a_proportion_rounded_to_three_decimals_or_more_is_accepted(counted, digits):
    successes, n = counted

    fewest, most = possible_successes(a_cell(round(successes / n, digits), n))

    assert 0 <= fewest <= most <= n


@given(counted=counts(1_000), digits=st.integers(4, 8))
def test_the_counts_that_a_rounded_proportion_can_stand_for_hold_the_true_one(counted, digits):
    """Below 1,000 samples no two counts round to the same value, so no count fits by accident."""
    successes, n = counted

    fewest, most = possible_successes(a_cell(round(successes / n, digits), n))

    assert fewest <= successes <= most


def test_many_samples_leave_the_count_of_a_rounded_proportion_open():
    assert possible_successes(a_cell(0.33333, 10_000)) == (3_329, 3_338)


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_possible_counts_are_counts(mean, samples):
    possible = possible_successes(a_cell(mean, samples))

    assert possible is None or 0 <= possible[0] <= possible[1] <= samples


@pytest.mark.parametrize("mean", [math.nan, math.inf, -math.inf, 1.5, -0.5], ids=str)
def test_a_value_that_is_not_a_proportion_stands_for_no_count(mean):
    assert possible_successes(a_cell(mean, 100)) is None
