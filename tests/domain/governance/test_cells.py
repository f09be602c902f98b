"""The evaluation of one rule by version 2: one test of each cell over all runs."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.governance.cell_runs import Qualification
from app.domain.governance.cells import References, Subject, rule_findings
from app.domain.governance.comparison import Reference
from app.domain.governance.findings import Outcome
from app.domain.governance.policies import Margins
from app.domain.statistics.spending import look_alpha
from tests.support.evidence import (
    NOW,
    ONE_CELL,
    a_cell,
    a_key,
    a_rule,
    a_scored_evaluation,
    an_evaluation,
    an_id,
    scores,
    shares,
)

HOUR = timedelta(hours=1)


def finding(*runs, rule=None, refused=(), stale=(), attempt=None, incumbents=(), **demands):
    """Return the last finding on tone for novice/en."""
    demands = {"min_samples": 50, "at_least": 0.85} | demands
    rule = rule or a_rule(**ONE_CELL, **demands)
    qualification = Qualification(
        refusal=lambda each: "is refused" if each.id in refused else None,
        is_stale=lambda each: each.id in stale,
    )
    references = References(incumbents, Reference("base model tiny", ()))
    return list(rule_findings(rule, Subject(2, runs, attempt), references, qualification))[-1]


def run_of(name, values, *, after=0, clusters=None, names=None, **changes):
    """Return a run that was recorded some hours after the first one."""
    column = scores(values, names, clusters)
    facts = {"cells": {a_key(): column.cell()}, "scores": {a_key(): column}}
    return an_evaluation(name, **facts, recorded_at=NOW + after * HOUR, **changes)


def test_a_single_run_is_tested_at_the_first_look():
    found = finding(run_of("one", shares(95)))
    assert (found.outcome, found.look, found.looks, found.runs) == (Outcome.PASSED, 1, 1, 1)
    assert found.confidence == pytest.approx(0.96)
    assert (found.observed, found.samples, found.level) == (0.95, 100, 1)


def test_a_short_perfect_run_neither_shuts_the_gate_nor_spends_a_look():
    short = run_of("short", shares(20, 20))
    assert "has 20 independent samples; the rule demands 50" in finding(short).message
    found = finding(short, run_of("full", shares(95), after=1))
    assert (found.outcome, found.look, found.samples) == (Outcome.PASSED, 1, 100)


def test_repeating_an_honest_run_costs_nothing():
    runs = [run_of(name, shares(95), after=name) for name in range(10)]
    found = finding(*runs)
    assert (found.outcome, found.look, found.runs) == (Outcome.PASSED, 1, 10)


def test_a_run_repeated_until_it_passes_still_fails():
    """Of the same prompts, the luckiest of ten runs passes alone, and all together do not."""
    lucky = run_of("lucky", shares(92), after=10)
    assert finding(lucky).outcome is Outcome.PASSED
    runs = [run_of(name, shares(86), after=name) for name in range(9)]
    found = finding(*runs, lucky)
    assert (found.outcome, found.looks) == (Outcome.FAILED, 10)
    assert found.observed == pytest.approx(0.866)


def test_a_cell_that_passed_is_closed_by_what_is_recorded_later():
    good, bad = run_of("good", shares(95)), run_of("bad", shares(50), after=1)
    found = finding(good, bad)
    assert (found.outcome, found.look, found.observed) == (Outcome.FAILED, 1, 0.725)
    assert "over all 2 runs that count it is 0.725" in found.message


@pytest.mark.parametrize("how", ["partial", "refused"])
def test_a_run_that_cannot_pass_counts_against_the_cell(how):
    good = run_of("good", shares(95))
    bad = run_of("bad", shares(50), after=1, partial=how == "partial")
    refused = {an_id("bad")} if how == "refused" else ()
    assert finding(good, bad, refused=refused).outcome is Outcome.FAILED
    assert finding(good, refused={an_id("good")}).outcome is Outcome.FAILED


@pytest.mark.parametrize("how", ["partial", "refused", "reported"])
def test_a_run_that_cannot_pass_never_outweighs_a_bad_one(how):
    good, bad = run_of("good", shares(95)), run_of("bad", shares(40), after=1)
    perfect = run_of("perfect", [1] * 900, names=range(900), after=2, partial=how == "partial")
    if how == "reported":
        perfect = an_evaluation("perfect", cells=a_cell(1, 10**9), recorded_at=NOW + 2 * HOUR)
    refused = {an_id("bad"), *([] if how == "partial" else [an_id("perfect")])}
    assert finding(good, bad, refused=refused).outcome is Outcome.FAILED
    assert finding(good, bad, perfect, refused=refused).outcome is Outcome.FAILED
    assert finding(good, perfect, refused=refused).outcome is Outcome.PASSED


def test_a_partial_run_that_refutes_the_limit_fails_the_cell_by_itself():
    good = run_of("good", [1] * 1000)
    losing = run_of("part", [0] * 30, names=range(2000, 2030), after=1, partial=True)
    found = finding(good, losing)
    assert (found.outcome, found.observed) == (Outcome.FAILED, 0)
    assert "The partial run" in found.message
    few = run_of("part", [1] * 3, names=range(2000, 2003), after=1, partial=True)
    assert finding(good, few).outcome is Outcome.PASSED
    reported = an_evaluation("part", partial=True, recorded_at=NOW + HOUR)
    assert finding(good, reported).outcome is Outcome.PASSED


def test_a_stale_run_leaves_the_pool_and_keeps_its_look():
    old, new = run_of("old", shares(95)), run_of("new", shares(96), after=1)
    found = finding(old, new, stale={an_id("old")})
    assert (found.outcome, found.look, found.runs) == (Outcome.PASSED, 2, 1)
    assert found.confidence == pytest.approx(1 - look_alpha(0.05, 2))


def test_recent_runs_below_the_limit_fail_the_cell_whatever_older_runs_say():
    """Old prompts keep the mean on record high; they are too old to make up for it."""
    old = run_of("old", [1] * 1000)
    lucky, worse = run_of("lucky", shares(95), after=1), run_of("worse", shares(60), after=2)
    found = finding(old, lucky, worse, stale={an_id("old")})
    assert (found.outcome, found.observed, found.look) == (Outcome.FAILED, 0.775, 2)
    assert "over its 2 recent runs it is 0.775" in found.message


def test_too_few_recent_runs_have_no_look():
    old = [run_of(name, shares(95), after=name) for name in range(20)]
    stale = {each.id for each in old}
    found = finding(*old, run_of("new", shares(95), after=30), stale=stale)
    assert (found.outcome, found.bound, found.looks) == (Outcome.FAILED, None, 20)
    assert "none of those runs is recent enough" in found.message


def test_an_attempt_is_tested_at_its_share_of_the_level():
    run = run_of("one", shares(92))
    assert finding(run).outcome is Outcome.PASSED
    found = finding(run, attempt=3)
    assert (found.outcome, found.confidence) == (
        Outcome.FAILED,
        pytest.approx(1 - 0.8 * 0.05 / 12),
    )


def test_the_samples_of_one_prompt_are_not_independent():
    """A hundred rows of one prompt are one sample."""
    found = finding(run_of("one", [1] * 100, clusters=[7] * 100))
    assert "has 1 independent samples" in found.message


@pytest.mark.parametrize(("prompts", "rows", "icc"), [(100, 4, 0.3), (40, 10, 0.3), (10, 40, 0.6)])
def test_correlated_rows_at_the_limit_pass_rarely(prompts, rows, icc):
    """Rows of one prompt succeed together: row-wise binomial tests pass 10 to 41 % of these."""
    rng = np.random.default_rng(7)
    a, b = 0.85 * (1 - icc) / icc, 0.15 * (1 - icc) / icc
    clusters = [prompt for prompt in range(prompts) for _ in range(rows)]
    passed = 0
    for _ in range(60):
        chances = np.repeat(rng.beta(a, b, prompts), rows)
        values = (rng.random(prompts * rows) < chances).astype(float)
        run = run_of("one", values, clusters=clusters)
        passed += finding(run, min_samples=1).outcome is Outcome.PASSED
    assert passed <= 60 * 0.05 + 3 * (60 * 0.05 * 0.95) ** 0.5 / 2


@given(st.lists(st.integers(0, 1), min_size=60, max_size=60), st.integers(0, 59))
def test_lowering_a_score_never_opens_a_cell(values, at):
    before = finding(run_of("one", [1] * 40 + values))
    lower = [*values[:at], 0, *values[at + 1 :]]
    after = finding(run_of("one", [1] * 40 + lower))
    assert not (before.blocks and not after.blocks)
    assert after.bound <= before.bound


def test_a_score_outside_the_range_fails_the_cell():
    found = finding(an_evaluation(cells={a_key(): a_cell(2.0)}))
    assert "is outside the range of its suite" in found.message


def test_a_mean_without_samples_cannot_be_tested():
    rule = a_rule("bleu", **ONE_CELL, at_least=30, min_samples=30)
    found = finding(an_evaluation(cells={a_key("bleu"): a_cell(60, 500)}), rule=rule)
    assert "was reported without samples" in found.message


def test_a_mean_is_tested_within_its_range():
    rule = a_rule("bleu", **ONE_CELL, at_least=30, min_samples=30)
    run = a_scored_evaluation("one", [60, 70, 80] * 20, key=a_key("bleu"))
    assert finding(run, rule=rule).outcome is Outcome.PASSED


def test_an_upper_limit_is_tested_from_above():
    rule = a_rule("toxicity", **ONE_CELL, at_least=None, at_most=0.05, min_samples=50)
    clean = a_scored_evaluation("one", shares(1, 200), key=a_key("toxicity"))
    found = finding(clean, rule=rule)
    assert (found.outcome, found.bound <= 0.05) == (Outcome.PASSED, True)
    assert "is at most" in found.message
    toxic = a_scored_evaluation("two", shares(100, 200), key=a_key("toxicity"))
    assert finding(clean, toxic, rule=rule, refused={an_id("two")}).outcome is Outcome.FAILED


def test_a_rule_that_only_compares_still_demands_samples():
    rule = a_rule(**ONE_CELL, at_least=None, no_worse_than=Margins(incumbent=0.1), min_samples=50)
    assert finding(run_of("one", shares(95)), rule=rule).outcome is Outcome.NOT_APPLICABLE
    assert finding(rule=rule).outcome is Outcome.NOT_APPLICABLE


def test_the_order_in_which_runs_are_given_changes_nothing():
    runs = [run_of("first", shares(86)), run_of("second", shares(99), after=1)]
    assert finding(*runs) == finding(*reversed(runs))
