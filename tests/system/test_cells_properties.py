"""Properties of the test of a cell: only better scores on more prompts can open it."""

from datetime import timedelta
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.evidence.pooling import pooled
from app.domain.governance import looks
from app.domain.governance.cell_runs import Qualification, cell_runs, recorded_mean
from app.domain.governance.cells import References, Subject, rule_findings, runs_by
from app.domain.governance.comparison import Margin, Reference, compare
from app.domain.governance.findings import Finding, Outcome
from app.domain.statistics.spending import look_alpha
from tests.support.evidence import (
    NOW,
    ONE_CELL,
    TONE,
    a_cell,
    a_key,
    a_rule,
    an_evaluation,
    scores,
)

KEY = a_key()
RULE = a_rule(**ONE_CELL, at_least=0.6, min_samples=10)
PERSISTENT = settings(max_examples=60)


def a_run(number, rows, *, partial=False):
    """Return a run of (sample, prompt, score) rows; the number is the hour of its recording."""
    names, prompts, values = zip(*rows, strict=True)
    column = scores(values, names, prompts)
    facts = {"cells": {KEY: column.cell()}, "scores": {KEY: column}}
    recorded = NOW + timedelta(hours=number)
    return an_evaluation(f"run {number}", **facts, recorded_at=recorded, partial=partial)


def qualification(refused=(), stale=()):
    return Qualification(
        lambda each: "is refused" if each.id in refused else None, lambda each: each.id in stale
    )


def the_finding(*runs, refused=(), stale=()):
    """Return the finding on the cell."""
    references = References((), Reference("base model tiny", ()))
    subject = Subject(2, runs)
    (found,) = rule_findings(RULE, subject, references, qualification(refused, stale))
    return found


def compared(ours, theirs):
    """Return the finding on the difference between two sides."""
    blank = Finding(RULE.metric, 2, Outcome.MISSING, "")
    cell = cell_runs(runs_by(RULE, ours), KEY, qualification())
    reference = Reference("version 1", theirs)
    return compare(Margin("incumbent", 0.3, 0.05, 5), cell, blank, [reference])


# Samples, whose names imply their prompts, and mostly successes: both outcomes are frequent.
score = st.sampled_from([1, 1, 1, 1, 0])
rows = st.lists(score, min_size=8, max_size=40).map(
    lambda values: [(f"{at} {at}", at, value) for at, value in enumerate(values)]
)
clustered = st.lists(st.tuples(st.integers(0, 30), score), min_size=10, max_size=60).map(
    lambda found: [(f"{at} {prompt}", prompt, value) for at, (prompt, value) in enumerate(found)]
)
several = st.lists(rows | clustered, min_size=1, max_size=4)


def runs_of(found):
    return [a_run(number, each) for number, each in enumerate(found)]


def said(finding):
    """Return a finding without the run that it names."""
    return [
        finding.outcome,
        finding.message,
        finding.observed,
        finding.bound,
        finding.looks,
        finding.look,
        finding.samples,
    ]


@PERSISTENT
@given(several, st.data())
def test_lowering_any_score_of_any_run_never_opens_a_cell(found, data):
    run = data.draw(st.integers(0, len(found) - 1))
    at = data.draw(st.integers(0, len(found[run]) - 1))
    name, prompt, _ = found[run][at]
    lower = [list(each) for each in found]
    lower[run][at] = (name, prompt, 0)

    assert the_finding(*runs_of(found)).blocks <= the_finding(*runs_of(lower)).blocks


@PERSISTENT
@given(clustered, st.integers(2, 3))
def test_repeating_all_rows_of_every_prompt_changes_nothing(found, times):
    more = [(f"{copy} {name}", *row) for name, *row in found for copy in range(times)]
    twice = [(f"{copy} {name}", *row) for name, *row in found for copy in range(2)]

    # Two of each, so that neither has one row a prompt, which has a test of its own.
    assert said(the_finding(a_run(0, more))) == said(the_finding(a_run(0, twice)))


@PERSISTENT
@given(several, st.randoms())
def test_the_order_of_rows_and_of_runs_changes_nothing(found, order):
    runs = runs_of([order.sample(each, len(each)) for each in found])
    order.shuffle(runs)

    assert the_finding(*runs) == the_finding(*runs_of(found))


@PERSISTENT
@given(several, st.data())
def test_a_cell_that_passed_keeps_its_limit_in_every_way(found, data):
    """Whichever runs are stale, partial or refused."""
    flags = st.sampled_from(["", "", "stale", "partial", "refused"])
    kinds = [data.draw(flags) for _ in found]
    runs = [
        a_run(number, each, partial=kind == "partial")
        for number, (each, kind) in enumerate(zip(found, kinds, strict=True))
    ]

    def named(wanted):
        return {run.id for run, kind in zip(runs, kinds, strict=True) if kind == wanted}

    finding = the_finding(*runs, refused=named("refused"), stale=named("stale"))

    if finding.outcome is Outcome.PASSED:
        qualified = [run for run, kind in zip(runs, kinds, strict=True) if kind in ("", "stale")]
        fresh = [run for run in qualified if run.id not in named("stale")]
        assert finding.observed == pooled([run.scores[KEY] for run in fresh]).mean >= 0.6
        assert finding.bound >= 0.6
        assert recorded_mean(qualified, KEY) >= 0.6


@PERSISTENT
@given(several, rows, st.sampled_from(["partial", "refused"]))
def test_a_run_that_cannot_pass_never_opens_a_cell(found, more, how):
    runs = runs_of(found)
    other = a_run(9, more, partial=how == "partial")

    alone = the_finding(*runs)
    together = the_finding(*runs, other, refused={other.id} if how == "refused" else ())

    assert alone.blocks <= together.blocks


@PERSISTENT
@given(several)
def test_looks_are_numbered_and_spend_their_shares(found):
    seen = []
    runs = runs_of(found)
    with patch.object(looks, "look_alpha", lambda *given: seen.append(given) or look_alpha(*given)):
        finding = the_finding(*runs)

    testable = [
        at
        for at in range(1, len(runs) + 1)
        if pooled([run.scores[KEY] for run in runs[:at]]).n >= RULE.min_samples
    ]
    assert seen == [(pytest.approx(0.05), look) for look in range(1, len(seen) + 1)]
    assert len(seen) == (finding.looks or 0) <= len(testable)
    if finding.look is not None:
        assert finding.confidence == pytest.approx(1 - look_alpha(0.05, finding.look))


@PERSISTENT
@given(clustered | rows, st.data())
def test_the_test_of_a_cell_is_chosen_by_its_prompts_and_never_by_its_scores(found, data):
    others = [(name, prompt, data.draw(st.integers(0, 1))) for name, prompt, _ in found]
    one_each = len({prompt for _, prompt, _ in found}) == len(found)

    for each in (found, others):
        pool = pooled([a_run(0, each).scores[KEY]])
        with patch.object(looks, "_exact", lambda *_: "exact"):
            chosen = looks.bound(TONE, pool, 0.96, "at_least")
        assert (chosen == "exact") is one_each


@pytest.mark.parametrize("reports", [1, 2, 5])
def test_several_reports_have_the_samples_of_the_largest_one(reports):
    cells = [a_cell(0.9, 100 * number) for number in range(1, reports + 1)]
    runs = [an_evaluation(str(each.samples), cells=each) for each in cells]

    found = looks.evidence_of(TONE, runs, KEY, "at_least")

    assert (found.n, found.successes) == (100 * reports, 90 * reports)


# Comparisons


@PERSISTENT
@given(clustered | rows, st.data())
def test_leaving_rows_of_a_reference_out_never_helps(ours, data):
    theirs = [(name, prompt, data.draw(score)) for name, prompt, _ in ours]
    kept = data.draw(st.lists(st.sampled_from(ours), min_size=1, unique=True))

    whole, fewer = (compared([a_run(0, each)], [a_run(1, theirs)]) for each in (ours, kept))

    assert whole.blocks <= fewer.blocks
    assert fewer.observed <= whole.observed


@PERSISTENT
@given(several, several, st.randoms())
def test_the_order_of_rows_and_runs_changes_no_comparison(ours, theirs, order):
    def sides(shuffled):
        found = [
            [a_run(2 * at + side, order.sample(each, len(each)) if shuffled else each)]
            for side, runs in enumerate((ours, theirs))
            for at, each in enumerate(runs)
        ]
        flat = [run for (run,) in found]
        first, second = flat[: len(ours)], flat[len(ours) :]
        if shuffled:
            order.shuffle(first)
            order.shuffle(second)
        return first, second

    assert compared(*sides(shuffled=True)) == compared(*sides(shuffled=False))


@PERSISTENT
@given(several, several)
def test_a_comparison_that_passed_keeps_its_margin(ours, theirs):
    found = compared(runs_of(ours), [a_run(10 + at, each) for at, each in enumerate(theirs)])

    if found.outcome is Outcome.PASSED:
        assert found.observed >= found.demanded
        assert found.bound >= found.demanded


def test_the_confidence_of_later_looks_falls_below_that_of_no_earlier_one():
    found = [
        the_finding(*runs_of([[(at, at, at % 2) for at in range(20)]] * n)) for n in range(1, 25)
    ]

    assert [each.looks for each in found] == [*range(1, 21), 20, 20, 20, 20]
    assert all(one.confidence < other.confidence for one, other in pairwise(found[:20]))
