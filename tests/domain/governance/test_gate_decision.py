"""A gate decision: its comparisons, the input that it records, and its digest."""

from datetime import timedelta

import pytest

from app.domain.governance.findings import Outcome
from app.domain.governance.gate import EvaluationRef, EvidenceRole, GateResult
from app.domain.governance.policies import Margins
from tests.support.evidence import (
    NOW,
    ONE_CELL,
    a_candidate,
    a_digest,
    a_policy_of,
    a_rule,
    a_scored_evaluation,
    a_suite,
    a_version,
    an_evaluation,
    an_id,
    an_incumbent,
    the_decision,
)

TONE_POLICY = a_policy_of(a_rule())


MEASURED = a_scored_evaluation("measured")


def comparison(*, incumbent=None, demand="incumbent", control_runs=()):
    """Return the decision on a perfect candidate that one cell compares, and its finding."""
    rule = a_rule(**ONE_CELL, no_worse_than=Margins(**{demand: 0.05}))
    candidate = a_candidate(a_scored_evaluation(), control_runs=control_runs)
    decision = the_decision(a_policy_of(rule), candidate, incumbent=incumbent)
    (found,) = [finding for finding in decision.findings if finding.demand == demand]
    return decision, found


@pytest.mark.parametrize(
    "incumbent",
    [
        pytest.param(None, id="none"),
        pytest.param(an_incumbent(number=2), id="the-candidate-itself"),
        pytest.param(an_incumbent(MEASURED, number=2), id="the-candidate-itself-with-evidence"),
    ],
)
def test_without_another_version_to_compare_with_the_comparison_does_not_apply(incumbent):
    decision, found = comparison(incumbent=incumbent)

    assert found.outcome is Outcome.NOT_APPLICABLE
    assert found.message == "The channel has served no other content to compare with."
    assert decision.result is GateResult.PASSED
    assert decision.incumbent == (incumbent and incumbent.ref)


@pytest.mark.parametrize(
    "evaluations",
    [
        pytest.param([], id="none"),
        pytest.param([a_scored_evaluation(suite=a_suite(version="2"))], id="of-another-suite"),
        pytest.param([an_evaluation()], id="without-samples"),
    ],
)
def test_an_incumbent_without_evidence_keeps_the_gate_closed(evaluations):
    decision, found = comparison(incumbent=an_incumbent(*evaluations))

    assert (decision.result, found.outcome) == (GateResult.FAILED, Outcome.FAILED)
    assert found.message == (
        "version 1 has no complete evaluation of tone for novice/en with samples by brand-voice@3 "
        "that qualifies; evaluate it first."
    )


def test_an_incumbent_that_is_not_better_lets_the_gate_open():
    decision, found = comparison(incumbent=an_incumbent(MEASURED))

    assert (decision.result, found.outcome) == (GateResult.PASSED, Outcome.PASSED)
    assert "differs from version 1 by at least" in found.message


@pytest.mark.parametrize(
    "incumbent",
    [
        pytest.param(None, id="no-incumbent"),
        pytest.param(an_incumbent(MEASURED), id="an-incumbent-is-not-a-control"),
    ],
)
def test_a_comparison_with_the_base_takes_a_control_run(incumbent):
    without, missing = comparison(incumbent=incumbent, demand="base")
    with_one, found = comparison(incumbent=incumbent, demand="base", control_runs=(MEASURED,))

    assert (without.result, missing.outcome) == (GateResult.FAILED, Outcome.FAILED)
    assert missing.message.startswith("base model tiny has no complete evaluation")
    assert (with_one.result, found.outcome) == (GateResult.PASSED, Outcome.PASSED)


def test_each_candidate_is_compared_with_its_own_control_run():
    rule = a_rule(**ONE_CELL, no_worse_than=Margins(base=0.05))
    first = a_candidate(a_scored_evaluation(), control_runs=(MEASURED,))
    second = a_candidate(a_scored_evaluation("second"), ref=a_version(3), base_model="small")

    decision = the_decision(a_policy_of(rule), first, second)

    found = [finding for finding in decision.findings if finding.demand == "base"]
    assert [finding.outcome for finding in found] == [Outcome.PASSED, Outcome.FAILED]
    assert found[1].message.startswith("base model small has no complete evaluation")


def test_an_incumbent_among_the_candidates_is_not_compared():
    """A split may keep the incumbent's traffic and increase that of another version."""
    rule = a_rule(**ONE_CELL, no_worse_than=Margins(incumbent=0.05))
    new, old = (
        a_candidate(a_scored_evaluation()),
        a_candidate(MEASURED, ref=a_version(1), content=a_digest("content 1")),
    )

    decision = the_decision(a_policy_of(rule), new, old, incumbent=an_incumbent(MEASURED))

    found = [finding.outcome for finding in decision.findings if finding.demand == "incumbent"]
    assert found == [Outcome.PASSED, Outcome.NOT_APPLICABLE]


def test_a_decision_lists_every_evaluation_once_with_its_role():
    shared, own = an_evaluation("control"), an_evaluation("own")
    incumbents = an_evaluation("incumbents")
    candidates = [
        a_candidate(an_evaluation(), control_runs=(shared,)),
        a_candidate(an_evaluation("second"), ref=a_version(3), control_runs=(shared, own)),
        a_candidate(incumbents, ref=a_version(1)),
    ]

    decision = the_decision(TONE_POLICY, *candidates, incumbent=an_incumbent(incumbents))

    assert [(each.id, each.of) for each in decision.evaluations] == [
        (an_id("first"), EvidenceRole.CANDIDATE),
        (an_id("second"), EvidenceRole.CANDIDATE),
        (an_id("incumbents"), EvidenceRole.CANDIDATE),
        (an_id("control"), EvidenceRole.BASE),
        (an_id("own"), EvidenceRole.BASE),
    ]


def test_a_decision_records_all_of_its_input():
    partial = an_evaluation("partial", partial=True)
    control = an_evaluation("control")
    candidate = a_candidate(an_evaluation(), partial, control_runs=(control,))
    incumbent = an_incumbent(an_evaluation("incumbents"))

    decision = the_decision(TONE_POLICY, candidate, incumbent=incumbent)

    assert (decision.evaluated_at, decision.incumbent) == (NOW, a_version(1))
    assert (decision.policy.name, decision.policy.version) == ("brand-safe", 1)
    assert decision.candidates == (candidate.ref,)
    assert decision.evaluations == (
        EvaluationRef(an_id("first"), a_digest("first"), EvidenceRole.CANDIDATE),
        EvaluationRef(an_id("partial"), a_digest("partial"), EvidenceRole.CANDIDATE),
        EvaluationRef(an_id("incumbents"), a_digest("incumbents"), EvidenceRole.INCUMBENT),
        EvaluationRef(an_id("control"), a_digest("control"), EvidenceRole.BASE),
    )


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"candidate": a_candidate(an_evaluation(), ref=a_version(3))}, id="version"),
        pytest.param({"candidate": a_candidate(an_evaluation("second"))}, id="another-evaluation"),
        pytest.param({"candidate": a_candidate()}, id="a-voided-evaluation"),
        pytest.param({"incumbent": None}, id="no-incumbent"),
        pytest.param({"incumbent": an_incumbent(number=3)}, id="another-incumbent"),
        pytest.param({"incumbent": an_incumbent(MEASURED)}, id="an-evaluation-of-the-incumbent"),
        pytest.param(
            {"candidate": a_candidate(an_evaluation(), control_runs=(MEASURED,))},
            id="a-control-run",
        ),
    ],
)
def test_the_evidence_digest_changes_with_the_evidence(other):
    facts = {"candidate": a_candidate(an_evaluation()), "incumbent": an_incumbent()}

    digests = [
        the_decision(TONE_POLICY, each["candidate"], incumbent=each["incumbent"]).evidence_digest
        for each in (facts, facts | other)
    ]

    assert digests[0] != digests[1]


def test_the_evidence_digest_does_not_change_with_time_alone():
    candidate = a_candidate(an_evaluation())
    later = the_decision(TONE_POLICY, candidate, now=NOW + timedelta(days=1))

    assert later.evidence_digest == the_decision(TONE_POLICY, candidate).evidence_digest
