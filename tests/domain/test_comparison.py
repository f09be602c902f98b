"""A candidate against a reference: which samples pair, and what they show."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from app.domain.comparison import Margin, Reference, compare
from app.domain.evidence import Evaluation
from app.domain.findings import CellRef, Finding, Outcome
from app.domain.statistics.paired import PairedCounts, lower_bound, upper_bound
from tests.evidence import (
    NOW,
    TONE,
    a_key,
    a_reference,
    a_scored_evaluation,
    a_suite,
    an_evaluation,
    an_id,
    scores,
    shares,
    the_base,
)

PASSED, FAILED = Outcome.PASSED, Outcome.FAILED
BLANK = Finding("brand-voice/tone", 2, Outcome.MISSING, "", cell=CellRef("novice", "en"))
DAY = timedelta(days=1)


def compared(candidate, reference, *, metric="tone", margin=0.05, confidence=0.95, least=1):
    """Return the finding on evaluations, or on the values that they scored for equal samples."""
    key = a_key(metric)
    if not isinstance(candidate, Evaluation):
        candidate = a_scored_evaluation("ours", candidate, key=key)
    if not isinstance(reference, Reference):
        reference = a_reference(a_scored_evaluation("theirs", reference, key=key))
    return compare(Margin(margin, confidence, least), key, BLANK, candidate, reference)


def pairs_of(both, only_candidate, only_reference, neither):
    """Return what two systems scored on pairs of these counts."""
    ours = [1] * (both + only_candidate) + [0] * (only_reference + neither)
    theirs = [1] * both + [0] * only_candidate + [1] * only_reference + [0] * neither
    return ours, theirs


EQUAL = shares(90)


def test_two_systems_that_score_alike_are_within_the_margin():
    finding = compared(EQUAL, EQUAL)

    assert finding.outcome is PASSED
    assert (finding.observed, finding.samples, finding.evaluation) == (0.0, 100, an_id("ours"))


def test_equal_systems_need_enough_pairs():
    few, enough = compared([1] * 59, [1] * 59), compared([1] * 60, [1] * 60)

    assert (few.outcome, enough.outcome) == (FAILED, PASSED)


def test_a_worse_system_fails():
    finding = compared(shares(80), EQUAL)

    assert (finding.outcome, finding.observed) == (FAILED, -0.1)


def test_a_system_that_is_worse_by_the_margin_itself_fails():
    assert compared(shares(85), EQUAL).outcome is FAILED


def test_a_finding_carries_the_numbers_behind_its_sentence():
    finding = compared(EQUAL, the_base(a_scored_evaluation("theirs", EQUAL)), margin=0.08)

    assert (finding.demand, finding.margin, finding.demanded) == ("base", 0.08, -0.08)
    assert (finding.rule, finding.version, finding.cell) == (BLANK.rule, 2, BLANK.cell)
    assert finding.bound == lower_bound(PairedCounts(90, 0, 0, 10), 0.95)


@pytest.mark.parametrize(
    ("candidate", "margin", "message"),
    [
        pytest.param(
            EQUAL,
            0.05,
            "At 95 % confidence tone for novice/en differs from version 1 by at least -0.03435 "
            "(+0 over 100 pairs); -0.05 was demanded.",
            id="passed",
        ),
        pytest.param(
            EQUAL,
            0.0,
            "At 95 % confidence tone for novice/en differs from version 1 by at least -0.03435 "
            "(+0 over 100 pairs); +0 was demanded; a better version or more samples would show it.",
            id="a-margin-of-nothing",
        ),
    ],
)
def test_a_finding_says_what_was_shown_and_what_was_demanded(candidate, margin, message):
    assert compared(candidate, EQUAL, margin=margin).message == message


def test_a_finding_on_a_metric_of_which_less_is_better_says_at_most():
    finding = compared([0] * 100, [0] * 100, metric="toxicity")

    assert (
        "differs from version 1 by at most +0.03435 (+0 over 100 pairs); +0.05" in finding.message
    )
    assert finding.demanded == 0.05


# Pairs, and the margin in the metric's own direction.


def test_samples_pair_by_name_and_not_by_place():
    names = [f"s{n}" for n in range(100)]
    candidate = a_scored_evaluation("ours", EQUAL, names=names)
    same = a_scored_evaluation("theirs", EQUAL[::-1], names=names[::-1])
    mirrored = a_scored_evaluation("theirs", EQUAL, names=names[::-1])

    assert compared(candidate, a_reference(same)).bound == compared(EQUAL, EQUAL).bound
    crossed = compared(candidate, a_reference(mirrored))
    assert crossed.bound == lower_bound(PairedCounts(80, 10, 10, 0), 0.95)


@pytest.mark.parametrize(
    ("paired", "outcome"), [(89, FAILED), (90, PASSED), (100, PASSED)], ids=str
)
def test_nine_samples_in_ten_must_pair(paired, outcome):
    other = a_scored_evaluation("theirs", [1] * 100, names=range(100 - paired, 200 - paired))

    finding = compared([1] * 100, a_reference(other))

    assert (finding.outcome, finding.samples) == (outcome, paired)


def test_samples_that_do_not_pair_are_counted_in_the_message():
    other = a_scored_evaluation("theirs", [1] * 100, names=range(11, 111))

    assert compared([1] * 100, a_reference(other)).message == (
        "89 samples of tone for novice/en pair with those of version 1 by id and prompt; "
        "it takes 90, the candidate has 100 and the reference 100."
    )


@pytest.mark.parametrize(("theirs", "outcome"), [(111, PASSED), (112, FAILED)])
def test_a_candidate_on_a_part_of_the_references_samples_is_not_compared(theirs, outcome):
    """Else an easy part could be chosen: 100 of 111 are nine in ten, 100 of 112 are not."""
    other = a_scored_evaluation("theirs", [1] * theirs)

    assert compared([1] * 100, a_reference(other)).outcome is outcome


@pytest.mark.parametrize(("least", "outcome"), [(100, PASSED), (101, FAILED)])
def test_the_rules_samples_are_demanded_of_the_pairs(least, outcome):
    finding = compared(EQUAL, EQUAL, least=least)

    assert finding.outcome is outcome
    assert ("it takes 101" in finding.message) is (outcome is FAILED)


BETTER, WORSE = shares(100), shares(60)


@pytest.mark.parametrize(
    ("metric", "candidate", "reference", "outcome"),
    [
        pytest.param("tone", BETTER, WORSE, PASSED, id="tone-rises"),
        pytest.param("tone", WORSE, BETTER, FAILED, id="tone-falls"),
        pytest.param("toxicity", WORSE, BETTER, PASSED, id="toxicity-falls"),
        pytest.param("toxicity", BETTER, WORSE, FAILED, id="toxicity-rises"),
        pytest.param("bleu", BETTER, WORSE, PASSED, id="bleu-rises"),
        pytest.param("bleu", WORSE, BETTER, FAILED, id="bleu-falls"),
        pytest.param("latency", WORSE, BETTER, PASSED, id="latency-falls"),
        pytest.param("latency", BETTER, WORSE, FAILED, id="latency-rises"),
    ],
)
def test_the_margin_is_in_the_metrics_own_direction(metric, candidate, reference, outcome):
    finding = compared(candidate, reference, metric=metric)

    assert finding.outcome is outcome
    assert finding.demanded == (-0.05 if metric in {"tone", "bleu"} else 0.05)


# Which evaluation of the reference.


def a_past(name, values=EQUAL, **changes):
    return a_scored_evaluation(name, values, **changes)


@pytest.mark.parametrize(
    "unfit",
    [
        pytest.param([], id="none"),
        pytest.param([a_past("old", suite=a_suite(version="2"))], id="another-version"),
        pytest.param([a_past("old", suite=a_suite(metrics=(TONE,)))], id="another-suite"),
        pytest.param([a_past("old", partial=True)], id="partial"),
        pytest.param([a_past("old", key=a_key(locale="de"))], id="another-cell"),
        pytest.param([an_evaluation("old")], id="aggregates"),
    ],
)
def test_what_cannot_be_paired_is_no_reference(unfit):
    finding = compared(EQUAL, a_reference(*unfit))

    assert (finding.outcome, finding.bound, finding.samples) == (FAILED, None, None)
    assert finding.message == (
        "version 1 has no complete evaluation of tone for novice/en with samples by "
        "brand-voice@3; evaluate it first."
    )


def test_aggregates_of_the_candidate_cannot_be_compared():
    finding = compared(an_evaluation("ours"), a_reference(a_past("theirs")))

    assert (finding.outcome, finding.evaluation) == (FAILED, an_id("ours"))
    assert finding.message == (
        "tone for novice/en was recorded without samples, which a comparison takes; record them."
    )


def test_a_bad_run_of_the_reference_does_not_lower_the_bar():
    perfect = a_past("perfect", BETTER, finished_at=NOW - 3 * DAY)
    bad = a_past("bad", WORSE, finished_at=NOW - 2 * DAY)

    for order in ([perfect, bad], [bad, perfect]):
        finding = compared(WORSE, a_reference(*order), margin=0.08)
        assert (finding.outcome, finding.observed) == (FAILED, pytest.approx(-0.4))
    assert compared(WORSE, a_reference(bad), margin=0.08).outcome is PASSED


def test_a_partial_run_of_the_reference_is_not_compared_with():
    bad, partial = a_past("bad", WORSE), a_past("partial", BETTER, partial=True)

    assert compared(WORSE, a_reference(partial, bad), margin=0.08).outcome is PASSED


def test_of_two_evaluations_that_finished_at_once_the_choice_is_no_matter_of_order():
    one, other = a_past("one", BETTER), a_past("other", WORSE)

    assert compared(EQUAL, a_reference(one, other)) == compared(EQUAL, a_reference(other, one))


def test_a_metric_that_the_suite_lacks_is_not_compared():
    finding = compared(EQUAL, EQUAL, metric="wit")

    assert (finding.outcome, finding.message) == (FAILED, "brand-voice@3 has no metric wit.")


# The bounds.

EXACT = settings(deadline=None, max_examples=50)  # exact bounds take their time
counts = st.tuples(*[st.integers(0, 20)] * 4).filter(lambda four: sum(four) > 0)


@EXACT
@given(four=counts, confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_proportions_are_held_to_the_exact_paired_bound(four, confidence):
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
def test_means_are_held_to_the_paired_t_bound(metric, side):
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
    """A range tells how bad the pairs may be that were not seen; without one there is no bound."""
    bleu = compared(SPREAD, SPREAD, metric="bleu", margin=4)
    latency = compared(SPREAD, SPREAD, metric="latency", margin=1e9)

    assert bleu.bound == pytest.approx(-100 * (1 - 0.05 ** (1 / 60)))
    assert bleu.outcome is FAILED
    assert (latency.outcome, latency.bound) == (FAILED, None)


@pytest.mark.parametrize("n", [41, 43, 48, 53, 81])
def test_the_worst_of_all_differences_is_no_error(n):
    """41 times 0.1, divided by 41, is more than 0.1 in binary: beyond what a pair can differ."""
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
def test_a_score_that_is_no_number_never_passes(metric, score, mine):
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
        f"{metric} for novice/en cannot be compared: a score is no finite number; "
        "void the evaluation."
    )


@pytest.mark.parametrize("metric", ["tone", "toxicity", "bleu", "latency"])
def test_a_margin_that_is_no_number_is_never_kept(metric):
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
