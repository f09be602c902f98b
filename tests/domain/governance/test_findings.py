"""A finding: its sentence, the numbers behind it, and whether it closes the gate."""

import math

import pytest

from app.domain.governance.findings import Outcome
from tests.support.evidence import (
    ONE_CELL,
    a_cell,
    a_rule,
    an_evaluation,
    an_id,
    the_finding,
    the_findings,
)

PASSED, FAILED, MISSING = Outcome.PASSED, Outcome.FAILED, Outcome.MISSING


@pytest.mark.parametrize(
    ("outcome", "blocks"),
    [(PASSED, False), (FAILED, True), (MISSING, True), (Outcome.NOT_APPLICABLE, False)],
)
def test_only_findings_that_passed_or_do_not_apply_leave_the_gate_open(outcome, blocks):
    (finding,) = the_findings(a_rule(personas=()))

    assert type(finding)(finding.rule, 2, outcome, "").blocks is blocks


MESSAGES = [
    pytest.param(
        [an_evaluation()],
        {},
        "At 95 % confidence tone for novice/en is at least 0.9167; 0.85 was demanded.",
        id="passed",
    ),
    pytest.param(
        [an_evaluation(cells=a_cell(0.99, 1_000))],
        {"confidence": 0.999},
        "At 99.9 % confidence tone for novice/en is at least 0.976; 0.85 was demanded.",
        id="a-confidence-is-not-rounded-to-100-percent",
    ),
    pytest.param(
        [an_evaluation(cells=a_cell(0.86, 100))],
        {},
        "At 95 % confidence tone for novice/en is at least 0.7898 (0.86 over 100 samples), and "
        "0.85 was demanded; a better version or more samples would show it.",
        id="failed",
    ),
    pytest.param(
        [],
        {},
        "No complete evaluation measured tone for novice/en; record one with at least 100 samples.",
        id="missing",
    ),
    pytest.param(
        [],
        {"min_samples": None},
        "No complete evaluation measured tone for novice/en; record one.",
        id="missing-of-any-size",
    ),
    pytest.param(
        [an_evaluation(cells=a_cell(1.0, 99))],
        {},
        "tone for novice/en has 99 samples; the rule demands 100 in every evaluation of it.",
        id="too-few",
    ),
    pytest.param(
        [an_evaluation(cells=a_cell(math.nan))],
        {},
        "tone for novice/en is nan, which brand-voice@3 does not admit; void the evaluation.",
        id="nan",
    ),
    pytest.param(
        [an_evaluation(cells=a_cell(0.9973, 101))],
        {},
        "tone for novice/en cannot be tested: 0.9973 of 101 is not a success count.",
        id="not-a-proportion",
    ),
]


@pytest.mark.parametrize(("evaluations", "rule", "message"), MESSAGES)
def test_a_finding_states_the_result_and_a_remedy_in_a_sentence(evaluations, rule, message):
    (finding,) = the_findings(a_rule(**ONE_CELL, **rule), *evaluations)

    assert finding.message == message


def test_a_finding_states_why_an_evaluation_is_disqualified():
    evaluation = an_evaluation()
    rule = a_rule(**ONE_CELL)

    (finding,) = the_findings(rule, evaluation, disqualified={evaluation.id: "is of yesterday"})

    assert finding.message == (
        "tone for novice/en was measured, but the evaluation is of yesterday; record another."
    )


def test_a_finding_carries_the_numbers_behind_its_sentence():
    (finding,) = the_findings(a_rule(**ONE_CELL), an_evaluation())

    assert (finding.rule, finding.version, finding.demand) == ("brand-voice/tone", 2, "at_least")
    assert (finding.observed, finding.samples, finding.demanded) == (0.95, 200, 0.85)
    assert finding.bound == pytest.approx(0.916664848933628)
    assert finding.evaluation == an_id("first")


def test_an_observed_value_that_is_not_a_number_is_left_out():
    assert the_finding(a_cell(math.nan)).observed is None
