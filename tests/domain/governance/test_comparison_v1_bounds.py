"""A candidate against a reference: the bounds that are compared with a margin."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from app.domain.statistics.paired import PairedCounts, lower_bound, upper_bound
from tests.support.comparing import FAILED, PASSED, compared, pairs_of
from tests.support.evidence import (
    a_key,
    a_reference,
    a_scored_evaluation,
    a_suite,
    an_evaluation,
    scores,
    shares,
)

EQUAL = shares(90)

EXACT = settings(deadline=None, max_examples=50)  # exact bounds are slow to compute
counts = st.tuples(*[st.integers(0, 20)] * 4).filter(lambda four: sum(four) > 0)


@EXACT
@given(four=counts, confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_proportions_are_tested_by_the_exact_paired_bound(four, confidence):
    ours, theirs = pairs_of(*four)
    tone = compared(ours, theirs, confidence=confidence)
    toxicity = compared(ours, theirs, metric="toxicity", confidence=confidence)

    assert tone.bound == lower_bound(PairedCounts(*four), confidence)
    assert toxicity.bound == upper_bound(PairedCounts(*four), confidence)
    assert tone.observed == pytest.approx((four[1] - four[2]) / sum(four))
    assert (tone.outcome is PASSED) == (tone.bound >= -0.05)
    assert (toxicity.outcome is PASSED) == (toxicity.bound <= 0.05)


SPREAD = [40 + n * n % 17 for n in range(60)]


@pytest.mark.parametrize(("metric", "side"), [("bleu", "greater"), ("latency", "less")])
def test_means_are_tested_by_the_paired_t_bound(metric, side):
    theirs = SPREAD
    ours = [value + n % 5 - 2.5 for n, value in enumerate(theirs)]

    finding = compared(ours, theirs, metric=metric, margin=1)

    interval = stats.ttest_rel(ours, theirs, alternative=side).confidence_interval(0.95)
    expected = interval.low if side == "greater" else interval.high
    assert finding.bound == pytest.approx(expected, rel=1e-9)
    assert finding.observed == pytest.approx(-0.5)
    assert finding.outcome is PASSED


@pytest.mark.parametrize(("n", "outcome"), [(29, FAILED), (30, PASSED)], ids=str)
def test_means_take_thirty_pairs(n, outcome):
    ours = [value + n % 2 for n, value in enumerate(SPREAD[:n])]

    finding = compared(ours, SPREAD[:n], metric="bleu", margin=1)

    assert finding.outcome is outcome
    if outcome is FAILED:
        assert finding.message == (
            "bleu for novice/en cannot be compared: its 29 differences have no bound."
        )
        assert finding.observed == pytest.approx(14 / 29)


def test_equal_differences_throughout_do_not_make_a_mean_certain():
    """A range limits how bad unseen pairs can be; without a range there is no bound."""
    bleu = compared(SPREAD, SPREAD, metric="bleu", margin=4)
    latency = compared(SPREAD, SPREAD, metric="latency", margin=1e9)

    assert bleu.bound == pytest.approx(-100 * (1 - 0.05 ** (1 / 60)))
    assert bleu.outcome is FAILED
    assert (latency.outcome, latency.bound) == (FAILED, None)


@pytest.mark.parametrize("n", [41, 43, 48, 53, 81])
def test_the_worst_possible_difference_is_not_an_error(n):
    """41 times 0.1, divided by 41, is more than 0.1 in binary: more than a pair can differ by."""
    bleu = replace(a_suite().metric("bleu"), maximum=0.1)
    suite = a_suite(metrics=(bleu,))
    key = a_key("bleu")
    ours = a_scored_evaluation("ours", [0] * n, key=key, suite=suite)
    theirs = a_scored_evaluation("theirs", [0.1] * n, key=key, suite=suite)

    finding = compared(ours, a_reference(theirs), metric="bleu")

    assert (finding.outcome, finding.observed, finding.bound) == (FAILED, -0.1, -0.1)


NO_NUMBERS = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("metric", ["tone", "toxicity", "bleu", "latency"])
@pytest.mark.parametrize("score", NO_NUMBERS, ids=str)
@pytest.mark.parametrize("mine", [True, False], ids=["candidate", "reference"])
def test_a_score_that_is_not_a_number_never_passes(metric, score, mine):
    odd, even = [score, *[1] * 99], [1, 1, 0, *[1] * 97]
    if metric in {"toxicity", "latency"}:
        even = [0] * 100
    key = a_key(metric)
    ours, theirs = (
        an_evaluation(name, scores={key: scores(values)})
        for name, values in (("ours", odd if mine else even), ("theirs", even if mine else odd))
    )

    finding = compared(ours, a_reference(theirs), metric=metric, margin=1e9)

    assert (finding.outcome, finding.observed, finding.bound) == (FAILED, None, None)
    assert finding.message == (
        f"{metric} for novice/en cannot be compared: a score is not a finite number; "
        "void the evaluation."
    )


@pytest.mark.parametrize("metric", ["tone", "toxicity", "bleu", "latency"])
def test_a_margin_that_is_not_a_number_is_never_met(metric):
    assert compared(EQUAL, EQUAL[::-1], metric=metric, margin=math.nan).outcome is FAILED


@EXACT
@given(four=counts, index=st.integers(0), metric=st.sampled_from(["tone", "toxicity"]))
def test_a_pair_that_changes_for_the_better_never_turns_pass_into_fail(four, index, metric):
    ours, theirs = pairs_of(*four)
    better = list(ours)
    better[index % len(ours)] = 1 if metric == "tone" else 0
    facts = {"metric": metric, "margin": 0.12}

    before, after = compared(ours, theirs, **facts), compared(better, theirs, **facts)

    assert not (before.outcome is PASSED and after.outcome is FAILED)


scores_of_means = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=30, max_size=60
)


@given(
    pairs=scores_of_means,
    margins=st.tuples(st.floats(0, 120), st.floats(0, 120)),
    metric=st.sampled_from(["bleu", "latency"]),
)
def test_a_wider_margin_of_a_mean_never_turns_pass_into_fail(pairs, margins, metric):
    ours, theirs = zip(*pairs, strict=True)
    never_closes(ours, theirs, margins, metric)


@EXACT
@given(
    four=counts,
    margins=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    metric=st.sampled_from(["tone", "toxicity"]),
)
def test_a_wider_margin_of_a_proportion_never_turns_pass_into_fail(four, margins, metric):
    never_closes(*pairs_of(*four), margins, metric)


def never_closes(ours, theirs, margins, metric):
    narrow, wide = (
        compared(ours, theirs, metric=metric, margin=margin).outcome for margin in sorted(margins)
    )

    assert not (narrow is PASSED and wide is FAILED)


@pytest.mark.parametrize(
    ("higher", "bound"),
    [pytest.param(True, -2.0, id="higher-is-better"), pytest.param(False, 2.0, id="lower")],
)
def test_the_worst_difference_of_a_metric_spans_its_whole_range(higher, bound):
    """Between -1 and 1, two scores differ by 2 at most; equal ones show that for few pairs."""
    change = replace(a_suite().metric("bleu"), minimum=-1, maximum=1, higher_is_better=higher)
    suite = a_suite(metrics=(change,))
    key = a_key("bleu")
    ours = a_scored_evaluation("ours", [0.5] * 60, key=key, suite=suite)
    theirs = a_scored_evaluation("theirs", [0.5] * 60, key=key, suite=suite)

    finding = compared(ours, a_reference(theirs), metric="bleu")

    assert finding.bound == pytest.approx(bound * (1 - 0.05 ** (1 / 60)))
