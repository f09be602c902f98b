"""Ways to open a gate that a system does not deserve to pass, each refused by the whole gate."""

import math
from datetime import timedelta

import numpy as np
import pytest

from app.domain.governance.candidates import Attempt
from app.domain.governance.findings import Outcome
from app.domain.governance.policies import AttemptDemand, Margins
from app.domain.statistics.spending import attempt_alpha, look_alpha
from tests.support.evidence import (
    NOW,
    ONE_CELL,
    a_candidate,
    a_cell,
    a_key,
    a_policy_of,
    a_rule,
    a_suite,
    an_evaluation,
    an_incumbent,
    passes,
    scores,
    shares,
    the_decision,
)

ONE_RULE = a_policy_of(a_rule(**ONE_CELL))
HOUR = timedelta(hours=1)


def a_run(name, values, *, after=0, clusters=None, key=None, names=None, **changes):
    """Return a run of one cell that was recorded some hours after the first one."""
    key, column = key or a_key(), scores(values, names, clusters)
    facts = {"cells": {key: column.cell()}, "scores": {key: column}}
    return an_evaluation(name, **facts, recorded_at=NOW - 20 * HOUR + after * HOUR, **changes)


def most_passes(simulations, alpha=0.05):
    """Return the most passes that a test of this level has, but for one case in 1,000."""
    spread = math.sqrt(simulations * alpha * (1 - alpha))
    return simulations * alpha + 3.1 * spread


def test_losing_rows_left_out_of_a_run_are_losses():
    """Row 3: 100 of 1,000 losing rows left out hide a ten-point loss no more."""
    policy = a_policy_of(a_rule(at_least=None, no_worse_than=Margins(incumbent=0.02), **ONE_CELL))
    incumbent = an_incumbent(a_run("theirs", [1] * 1000))
    left_out = a_candidate(a_run("ours", [1] * 900, names=range(100, 1000)))
    renamed = a_candidate(a_run("ours", [1] * 1000, names=[f"x{at}" for at in range(1000)]))

    found = the_decision(policy, left_out, incumbent=incumbent).findings[-1]
    assert (found.outcome, found.observed, found.samples) == (Outcome.FAILED, -0.1, 1000)
    assert the_decision(policy, renamed, incumbent=incumbent).unmet
    whole = a_candidate(a_run("ours", [1] * 1000))
    assert not the_decision(policy, whole, incumbent=incumbent).unmet


def test_a_complete_bad_run_declared_partial_closes_the_gate():
    """Row 4."""
    good, bad = a_run("good", shares(95)), a_run("bad", shares(50), after=1, partial=True)

    assert passes(ONE_RULE, good)
    assert not passes(ONE_RULE, good, bad)


def test_rows_of_one_prompt_are_one_observation():
    """Row 5: a hundred rows of one prompt are no hundred samples."""
    (found,) = the_decision(
        ONE_RULE, a_candidate(a_run("one", [1] * 100, clusters=[1] * 100))
    ).unmet

    assert (found.samples, found.outcome) == (1, Outcome.FAILED)


@pytest.mark.parametrize(
    ("prompts", "rows", "icc"), [(100, 4, 0.3), (40, 10, 0.3), (20, 20, 0.3), (10, 40, 0.6)]
)
def test_correlated_rows_at_the_limit_pass_in_5_percent_at_most(prompts, rows, icc):
    """Row 5: counted as 400 independent rows they passed in 10, 18, 26 and 41 %."""
    policy = a_policy_of(a_rule(**ONE_CELL, min_samples=1))
    rng = np.random.default_rng(5)
    a, b = 0.85 * (1 - icc) / icc, 0.15 * (1 - icc) / icc
    clusters = [prompt for prompt in range(prompts) for _ in range(rows)]
    simulations = 80

    passed = 0
    for _ in range(simulations):
        chances = np.repeat(rng.beta(a, b, prompts), rows)
        values = (rng.random(len(clusters)) < chances).astype(float)
        passed += passes(policy, a_run("one", values, clusters=clusters))

    assert passed <= most_passes(simulations)


SKEWED = {
    "rare-zeros": (lambda rng, n: np.where(rng.random(n) < 0.01, 0, 100 - rng.random(n) / 1e4), 99),
    "rubric": (
        lambda rng, n: rng.choice([100, 75, 50, 25, 0], n, p=[0.9, 0.06, 0.02, 0.01, 0.01]),
        95.75,
    ),
    "beta": (lambda rng, n: 100 * rng.beta(9, 1, n), 90),
}


@pytest.mark.parametrize("n", [30, 100, 300])
@pytest.mark.parametrize("name", SKEWED)
def test_a_skewed_mean_at_the_limit_passes_in_5_percent_at_most(name, n):
    """Row 6: Student's t passed up to 74 % of these."""
    draw, truth = SKEWED[name]
    policy = a_policy_of(a_rule("bleu", **ONE_CELL, at_least=truth, min_samples=1))
    rng = np.random.default_rng(6)
    simulations = 60

    passed = sum(
        passes(policy, a_run("one", draw(rng, n), key=a_key("bleu"))) for _ in range(simulations)
    )

    assert passed <= most_passes(simulations)


def test_lowering_one_of_thirty_perfect_scores_does_not_open_the_gate():
    """Row 6: a spread of almost nothing is no evidence of almost no spread."""
    policy = a_policy_of(a_rule("bleu", **ONE_CELL, at_least=95, min_samples=30))
    key = a_key("bleu")

    assert not passes(policy, a_run("one", [100.0] * 30, key=key))
    assert not passes(policy, a_run("one", [100.0] * 29 + [100 - 1e-4], key=key))
    assert passes(policy, a_run("one", [100.0] * 300, key=key))


def test_an_error_that_a_report_claims_is_no_evidence():
    """Row 7."""
    policy = a_policy_of(a_rule("bleu", **ONE_CELL, at_least=50, min_samples=30))
    cell = a_cell(90, 1000, stderr=1e-12)

    assert not passes(policy, an_evaluation(cells={a_key("bleu"): cell}))


def test_another_version_of_the_suite_neither_passes_nor_fails_a_cell():
    """Row 8."""
    other = a_suite(version="4", personas=("novice", "expert", "child"))
    cells = {a_key(): a_cell(1.0, 400), a_key(persona="child"): a_cell(0.0, 400)}
    later = an_evaluation("later", suite=other, cells=cells)

    assert not passes(ONE_RULE, later)
    decision = the_decision(ONE_RULE, a_candidate(a_run("one", shares(95)), later))
    assert not decision.unmet
    (notice,) = [each for each in decision.findings if each.outcome is Outcome.NOTICE]
    assert "child/en 0 over 400 samples" in notice.message


# Repetition, row 9


def test_a_perfect_smoke_run_does_not_shut_the_gate():
    smoke, full = a_run("smoke", [1] * 20), a_run("full", shares(95), after=1)

    assert not passes(ONE_RULE, smoke)
    assert passes(ONE_RULE, smoke, full)


@pytest.mark.parametrize("times", [1, 2, 3, 5, 10])
def test_an_honest_system_that_passed_still_passes_when_measured_again(times):
    runs = [a_run(str(at), shares(95), after=at) for at in range(times)]

    assert passes(ONE_RULE, *runs)


def test_honest_repetition_costs_no_power():
    """A system at 95 % against 85 %: with every run that must pass, power fell from .84 to .17."""
    rng = np.random.default_rng(9)
    once = ten = 0
    for _ in range(60):
        chances = rng.beta(19, 1, 100)
        runs = [a_run(str(at), rng.random(100) < chances, after=at) for at in range(10)]
        once += passes(ONE_RULE, runs[0])
        ten += passes(ONE_RULE, *runs)

    assert ten >= once - 2


def test_looking_after_every_run_passes_no_more_often():
    """Row 10: stopped at the first pass, ten looks of a system at its limit keep the level."""
    rng = np.random.default_rng(10)
    simulations, passed = 60, 0
    for _ in range(simulations):
        runs = []
        for at in range(10):
            names = range(100 * at, 100 * (at + 1))
            runs.append(a_run(str(at), rng.random(100) < 0.85, names=names, after=at))
            if passes(ONE_RULE, *runs):
                passed += 1
                break

    assert passed <= most_passes(simulations)


def test_each_look_is_tested_at_its_share_of_the_level():
    runs = [a_run(str(at), shares(80), after=at) for at in range(3)]

    found = [the_decision(ONE_RULE, a_candidate(*runs[:at])).unmet[0] for at in (1, 2, 3)]

    assert [each.looks for each in found] == [1, 2, 3]
    assert [1 - each.confidence for each in found] == pytest.approx(
        [look_alpha(0.05, look) for look in (1, 2, 3)]
    )


@pytest.mark.parametrize("number", [1, 2, 5])
def test_the_level_of_a_content_is_divided_by_its_number(number):
    """The k-th content that is measured is tested at alpha / (k (k + 1))."""
    policy = a_policy_of(a_rule(**ONE_CELL), attempts=AttemptDemand(correct=True))
    attempts = {"brand-voice@3": Attempt(number, 9)}

    candidate = a_candidate(a_run("one", shares(80)), attempts=attempts)
    (found,) = the_decision(policy, candidate).unmet

    level = look_alpha(attempt_alpha(0.05, number), 1)
    assert 1 - found.confidence == pytest.approx(level)
    uncorrected = the_decision(ONE_RULE, candidate).unmet[0]
    assert uncorrected.confidence == pytest.approx(0.96)


# The record, row 12


def test_a_decision_shows_the_pooled_value_and_not_that_of_the_earliest_run():
    first, worst = a_run("first", shares(99)), a_run("worst", shares(86), after=1)

    (found,) = [
        each
        for each in the_decision(ONE_RULE, a_candidate(first, worst)).findings
        if each.demand == "at_least"
    ]

    assert (found.outcome, found.observed) == (Outcome.PASSED, pytest.approx(0.925))
    assert (found.runs, found.samples, found.looks, found.level) == (2, 100, 1, 1)
