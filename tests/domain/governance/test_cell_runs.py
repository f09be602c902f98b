"""The runs of a cell: those that can pass it, and those that only count against it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.governance.cell_runs import Qualification, cell_runs, recorded_mean
from tests.support.evidence import (
    a_cell,
    a_key,
    a_scored_evaluation,
    an_evaluation,
    an_id,
    every_key,
    shares,
)

KEY = a_key()


def found(*runs, refused=(), stale=()):
    """Return the runs of the cell; the reason of a refusal is the name of the run."""
    reasons = {an_id(name): f"is {name}" for name in refused}
    old = {an_id(name) for name in stale}
    qualification = Qualification(lambda each: reasons.get(each.id), lambda each: each.id in old)
    return cell_runs(runs, KEY, qualification)


def ids(runs):
    return [each.id for each in runs]


def test_a_complete_run_qualifies_unless_it_is_refused():
    cell = found(an_evaluation("good"), an_evaluation("bad"), refused=["bad"])

    assert (ids(cell.qualified), ids(cell.others)) == ([an_id("good")], [an_id("bad")])
    assert ids(cell.all) == [an_id("good"), an_id("bad")]
    assert cell.refusal == "is bad"


def test_a_partial_run_never_qualifies_and_is_no_refusal():
    cell = found(an_evaluation("part", partial=True))

    assert (list(cell.qualified), ids(cell.others), cell.refusal) == ([], [an_id("part")], None)


def test_the_refusal_is_that_of_the_latest_complete_run():
    runs = [an_evaluation("one"), an_evaluation("two"), an_evaluation("part", partial=True)]

    assert found(*runs, refused=["one", "two", "part"]).refusal == "is two"
    assert found(*runs).refusal is None


def test_a_run_that_did_not_measure_the_cell_is_not_among_its_runs():
    other = an_evaluation(cells=dict.fromkeys(every_key("toxicity"), a_cell()))

    assert found(other).all == []


def test_a_stale_run_still_qualifies_and_is_not_fresh():
    cell = found(an_evaluation("old"), an_evaluation("new"), stale=["old"])

    assert ids(cell.qualified) == [an_id("old"), an_id("new")]
    assert ids(cell.fresh(cell.qualified)) == [an_id("new")]


# The mean over the record


def test_the_mean_of_samples_is_by_cluster():
    runs = [a_scored_evaluation("one", shares(1, 2)), a_scored_evaluation("two", shares(2, 4))]

    # Prompt 0 twice a success, prompt 1 half a success, prompts 2 and 3 none.
    assert recorded_mean(runs, KEY) == pytest.approx(1.5 / 4)


def test_reports_weigh_as_many_samples_as_they_claim():
    runs = [an_evaluation("one", cells=a_cell(1, 300)), an_evaluation("two", cells=a_cell(0, 100))]

    assert recorded_mean(runs, KEY) == 0.75


def test_samples_and_reports_weigh_by_their_numbers_together():
    runs = [a_scored_evaluation("one", shares(100)), an_evaluation("two", cells=a_cell(0, 300))]

    assert recorded_mean(runs, KEY) == 0.25


outcomes = st.lists(st.integers(0, 1), min_size=1, max_size=20)


@given(st.lists(outcomes, min_size=1, max_size=3), st.lists(outcomes, max_size=2), st.randoms())
def test_the_order_of_runs_does_not_change_their_mean(measured, reported, order):
    runs = [a_scored_evaluation(f"m{at}", values) for at, values in enumerate(measured)]
    runs += [
        an_evaluation(f"r{at}", cells=a_cell(sum(values) / len(values), len(values)))
        for at, values in enumerate(reported)
    ]
    shuffled = order.sample(runs, len(runs))

    assert recorded_mean(shuffled, KEY) == recorded_mean(runs, KEY)


@given(outcomes, st.integers(1, 4))
def test_the_same_run_again_does_not_change_the_mean(values, times):
    runs = [a_scored_evaluation(str(at), values) for at in range(times)]

    assert recorded_mean(runs, KEY) == pytest.approx(sum(values) / len(values))
