"""Comparisons by version 2: pairs over all samples of both sides, and every incumbent."""

from datetime import timedelta

import pytest

from app.domain.governance.cell_runs import Qualification, cell_runs
from app.domain.governance.comparison import Margin, Reference, compare
from app.domain.governance.findings import Finding, Outcome
from tests.support.evidence import (
    NOW,
    a_key,
    a_rule,
    a_scored_evaluation,
    a_suite,
    an_evaluation,
    an_id,
    shares,
)

BLANK = Finding(a_rule().metric, 2, Outcome.MISSING, "")
WORSE = [0] * 10 + [1] * 90  # fails ten prompts that the reference answers


def compared(
    *runs, references=None, metric="tone", margin=0.1, least=50, refused=(), stale=(), alpha=0.05
):
    """Return the finding on runs of a candidate; `references` are lists of runs."""
    qualification = Qualification(
        lambda each: "is refused" if each.id in refused else None, lambda each: each.id in stale
    )
    found = [
        Reference(f"version {at}", each)
        for at, each in enumerate(references or [[the_reference()]], start=1)
    ]
    cell = cell_runs(runs, a_key(metric), qualification)
    return compare(Margin("incumbent", margin, alpha, least), cell, BLANK, found)


def a_run(name, values, after=0, **changes):
    recorded = NOW + timedelta(hours=after)
    return a_scored_evaluation(name, values, recorded_at=recorded, **changes)


def the_reference(name="reference", values=(1,) * 100, **changes):
    return a_run(name, list(values), **changes)


def test_an_equal_candidate_passes():
    found = compared(a_run("ours", [1] * 100))
    assert (found.outcome, found.observed, found.samples) == (Outcome.PASSED, 0, 100)
    assert (found.look, found.looks, found.demanded) == (1, 1, -0.1)


def test_losing_samples_that_are_left_out_are_losses():
    """A hundred of 1,000 rows left out do not hide a loss of ten points."""
    reference = the_reference(values=[1] * 1000)
    whole = compared(a_run("ours", [0] * 100 + [1] * 900), references=[[reference]], margin=0.02)
    left_out = a_run("ours", [1] * 900, names=range(100, 1000))
    found = compared(left_out, references=[[reference]], margin=0.02)
    assert (found.outcome, found.observed, found.samples) == (Outcome.FAILED, -0.1, 1000)
    assert found.bound == whole.bound


def test_renamed_samples_are_losses_on_both_sides():
    renamed = a_run("ours", [1] * 100, names=[f"new-{at}" for at in range(100)])
    found = compared(renamed)
    assert (found.outcome, found.observed, found.samples) == (Outcome.FAILED, -1, 200)


def test_every_incumbent_must_be_matched():
    weak, strong = the_reference("weak", WORSE), the_reference("strong", [1] * 100)
    ours = a_run("ours", WORSE)
    assert compared(ours, references=[[weak]], margin=0.05).outcome is Outcome.PASSED
    found = compared(ours, references=[[weak], [strong]], margin=0.05)
    assert (found.outcome, "version 2" in found.message) == (Outcome.FAILED, True)


def test_of_incumbents_that_are_matched_the_closest_is_shown():
    weak, strong = the_reference("weak", WORSE), the_reference("strong", [1] * 100)
    found = compared(a_run("ours", [1] * 100), references=[[weak], [strong]])
    assert (found.outcome, "version 2" in found.message) == (Outcome.PASSED, True)


def test_a_run_of_the_reference_is_a_look_too():
    references = [[the_reference(), the_reference("again", after=2)]]
    ours = [a_run("ours", [0] * 4 + [1] * 96, after=1)]
    found = compared(*ours, references=references, margin=0.06)
    assert (found.outcome, found.looks) == (Outcome.FAILED, 2)


def test_what_was_recorded_later_closes_a_comparison_that_passed():
    ours, worse = a_run("ours", [1] * 100), a_run("worse", [0] * 60 + [1] * 40, after=1)
    found = compared(ours, worse)
    assert (found.outcome, found.look, found.observed) == (Outcome.FAILED, 1, -0.3)
    refused = compared(ours, worse, refused={an_id("worse")})
    assert (refused.outcome, refused.observed) == (Outcome.FAILED, -0.3)


@pytest.mark.parametrize("partial", [True, False])
def test_runs_that_cannot_pass_never_outweigh_a_bad_one(partial):
    ours, bad = a_run("ours", [1] * 100), a_run("bad", WORSE, after=1)
    names = [f"perfect {at}" for at in range(10)]
    perfect = [a_run(each, [1] * 100, after=2, partial=partial) for each in names]
    refused = {an_id("bad"), *map(an_id, names)}
    assert compared(ours, bad, margin=0.04, refused=refused).observed == -0.05
    found = compared(ours, bad, *perfect, margin=0.04, refused=refused)
    assert (found.outcome, found.observed) == (Outcome.FAILED, -0.05)
    assert compared(ours, *perfect, margin=0.04, refused=refused).outcome is Outcome.PASSED


def test_other_runs_without_a_shared_sample_do_not_count():
    ours = a_run("ours", [1] * 100)
    reported = an_evaluation("reported", partial=True)
    elsewhere = a_run("elsewhere", [0] * 9, names=range(500, 509), partial=True, after=1)
    assert compared(ours, reported, elsewhere).outcome is Outcome.PASSED


def test_where_lower_is_better_the_difference_has_an_upper_bound():
    key = a_key("toxicity")
    reference = a_scored_evaluation("reference", [0] * 100, key=key)
    clean, toxic = (
        a_scored_evaluation(name, values, key=key)
        for name, values in (("clean", [0] * 100), ("toxic", shares(30)))
    )
    found = compared(clean, metric="toxicity", references=[[reference]])
    assert (found.outcome, found.demanded) == (Outcome.PASSED, 0.1)
    assert "by at most" in found.message
    assert compared(toxic, metric="toxicity", references=[[reference]]).outcome is Outcome.FAILED
    both = compared(clean, toxic, metric="toxicity", references=[[reference]])
    assert (both.outcome, both.observed) == (Outcome.FAILED, 0.15)


@pytest.mark.parametrize(
    ("runs", "refused", "stale", "outcome", "message"),
    [
        ([], (), (), Outcome.MISSING, "No complete, recent run measured"),
        ([an_evaluation("ours")], (), (), Outcome.FAILED, "was recorded without samples"),
        ([a_run("ours", [1] * 9)], ["ours"], (), Outcome.FAILED, "the evaluation is refused"),
        ([a_run("ours", [1] * 9)], (), ["ours"], Outcome.MISSING, "No complete, recent run"),
    ],
)
def test_a_candidate_without_a_run_that_qualifies_is_refused(
    runs, refused, stale, outcome, message
):
    found = compared(*runs, refused=map(an_id, refused), stale=[an_id(each) for each in stale])
    assert (found.outcome, message in found.message) == (outcome, True)


@pytest.mark.parametrize(
    "reference",
    [
        the_reference(partial=True),
        the_reference(suite=a_suite(version="2")),
        an_evaluation("reference"),
    ],
)
def test_a_reference_without_a_run_that_qualifies_keeps_the_gate_closed(reference):
    found = compared(a_run("ours", [1] * 100), references=[[reference]])
    assert "version 1 has no complete evaluation" in found.message
    assert compared(a_run("ours", [1] * 100), refused={an_id("reference")}).blocks


def test_too_few_pairs_are_no_look():
    found = compared(a_run("ours", [1] * 100), least=200)
    assert (found.outcome, found.looks) == (Outcome.FAILED, None)
    assert "has 100 independent pairs" in found.message


def test_looks_at_runs_that_are_too_old_now_are_spent():
    old = [a_run(str(at), [1] * 100, after=at) for at in range(20)]
    stale = [each.id for each in old]
    found = compared(*old, a_run("new", [1] * 100, after=30), stale=stale)
    assert (found.outcome, found.bound, found.looks) == (Outcome.FAILED, None, 20)


def test_a_suite_without_the_metric_is_refused():
    suite = a_suite(metrics=())
    ours, reference = a_run("ours", [1] * 100, suite=suite), the_reference(suite=suite)
    assert "has no metric tone" in compared(ours, references=[[reference]]).message
