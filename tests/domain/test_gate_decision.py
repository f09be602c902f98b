"""A decision: what it was compared with, what it records, what its digest binds."""

from datetime import timedelta

import pytest

from app.domain.cells import Outcome
from app.domain.gate import EvaluationRef, Result
from app.domain.policies import Margins
from tests.evidence import (
    NOW,
    ONE_CELL,
    a_candidate,
    a_digest,
    a_policy_of,
    a_rule,
    a_version,
    an_evaluation,
    an_id,
    the_decision,
)

TONE_POLICY = a_policy_of(a_rule())


def comparison(incumbent):
    rule = a_rule(**ONE_CELL, no_worse_than=Margins(incumbent=0.02))
    decision = the_decision(a_policy_of(rule), a_candidate(an_evaluation()), incumbent=incumbent)
    (found,) = [finding for finding in decision.findings if finding.demand == "incumbent"]
    return decision, found


@pytest.mark.parametrize("incumbent", [None, a_version(2)], ids=["none", "the-candidate-itself"])
def test_without_another_version_to_compare_with_the_comparison_does_not_apply(incumbent):
    decision, found = comparison(incumbent)

    assert found.outcome is Outcome.NOT_APPLICABLE
    assert found.message == "The channel has no incumbent other than this version to compare with."
    assert (decision.result, decision.incumbent) == (Result.PASSED, incumbent)


def test_an_incumbent_that_cannot_be_compared_keeps_the_gate_shut():
    decision, found = comparison(a_version(1))

    assert (decision.result, found.outcome) == (Result.FAILED, Outcome.MISSING)
    assert "Comparing with version 1 takes paired samples" in found.message


def test_a_decision_records_all_that_went_into_it():
    partial = an_evaluation("partial", partial=True)
    candidate = a_candidate(an_evaluation(), partial)

    decision = the_decision(TONE_POLICY, candidate, incumbent=a_version(1))

    assert (decision.evaluated_at, decision.incumbent) == (NOW, a_version(1))
    assert (decision.policy.name, decision.policy.version) == ("brand-safe", 1)
    assert decision.candidates == (candidate.ref,)
    assert decision.evaluations == (
        EvaluationRef(an_id("first"), a_digest("first")),
        EvaluationRef(an_id("partial"), a_digest("partial")),
    )


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"candidate": a_candidate(an_evaluation(), ref=a_version(3))}, id="version"),
        pytest.param({"candidate": a_candidate(an_evaluation("second"))}, id="another-evaluation"),
        pytest.param({"candidate": a_candidate()}, id="a-voided-evaluation"),
        pytest.param({"incumbent": a_version(1)}, id="incumbent"),
    ],
)
def test_the_evidence_digest_changes_with_what_was_judged(other):
    facts = {"candidate": a_candidate(an_evaluation()), "incumbent": None}

    digests = [
        the_decision(TONE_POLICY, each["candidate"], incumbent=each["incumbent"]).evidence_digest
        for each in (facts, facts | other)
    ]

    assert digests[0] != digests[1]


def test_the_evidence_digest_does_not_change_with_time_alone():
    candidate = a_candidate(an_evaluation())
    later = the_decision(TONE_POLICY, candidate, now=NOW + timedelta(days=1))

    assert later.evidence_digest == the_decision(TONE_POLICY, candidate).evidence_digest
