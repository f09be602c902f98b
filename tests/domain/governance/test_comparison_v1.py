"""A candidate against a reference: which samples pair, and the resulting finding."""

import pytest

from app.domain.statistics.paired import PairedCounts, lower_bound
from tests.support.comparing import BLANK, DAY, FAILED, PASSED, compared
from tests.support.evidence import (
    NOW,
    TONE,
    a_key,
    a_reference,
    a_scored_evaluation,
    a_suite,
    an_evaluation,
    an_id,
    shares,
    the_base,
)

EQUAL = shares(90)


def test_two_systems_with_equal_scores_are_within_the_margin():
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
            id="a-margin-of-zero",
        ),
    ],
)
def test_a_finding_states_the_bound_and_the_demand(candidate, margin, message):
    assert compared(candidate, EQUAL, margin=margin).message == message


def test_a_finding_on_a_metric_where_lower_is_better_says_at_most():
    finding = compared([0] * 100, [0] * 100, metric="toxicity")

    assert (
        "differs from version 1 by at most +0.03435 (+0 over 100 pairs); +0.05" in finding.message
    )
    assert finding.demanded == 0.05


# Pairs, and the margin in the metric's own direction.


def test_samples_pair_by_name_and_not_by_position():
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
        "90 are needed, the candidate has 100 and the reference 100."
    )


@pytest.mark.parametrize(("theirs", "outcome"), [(111, PASSED), (112, FAILED)])
def test_a_candidate_on_a_part_of_the_references_samples_is_not_compared(theirs, outcome):
    """Otherwise an easy part could be chosen: 100 of 111 are nine in ten, 100 of 112 are not."""
    other = a_scored_evaluation("theirs", [1] * theirs)

    assert compared([1] * 100, a_reference(other)).outcome is outcome


@pytest.mark.parametrize(("least", "outcome"), [(100, PASSED), (101, FAILED)])
def test_the_rules_samples_are_demanded_of_the_pairs(least, outcome):
    finding = compared(EQUAL, EQUAL, least=least)

    assert finding.outcome is outcome
    assert ("101 are needed" in finding.message) is (outcome is FAILED)


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


# The choice of the reference's evaluation.


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
def test_an_evaluation_that_cannot_be_paired_is_not_a_reference(unfit):
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
        "tone for novice/en was recorded without samples, which a comparison needs; record them."
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


def test_the_order_of_evaluations_that_finished_at_once_does_not_matter():
    one, other = a_past("one", BETTER), a_past("other", WORSE)

    assert compared(EQUAL, a_reference(one, other)) == compared(EQUAL, a_reference(other, one))


def test_a_metric_that_the_suite_lacks_is_not_compared():
    finding = compared(EQUAL, EQUAL, metric="wit")

    assert (finding.outcome, finding.message) == (FAILED, "brand-voice@3 has no metric wit.")
