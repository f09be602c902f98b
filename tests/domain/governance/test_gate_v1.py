"""Decisions of version 1 of the verifier, kept as it made them, still come out the same."""

import json
from pathlib import Path

import pytest

from app.db.promotions import DECISION, decision_document
from app.domain.governance.gate import GATE_V1
from app.domain.governance.policies import EvidenceDemand, Margins
from app.domain.governance.replay import differences
from tests.support.evidence import (
    AUTHOR,
    NOW,
    ONE_CELL,
    a_candidate,
    a_cell,
    a_key,
    a_policy_of,
    a_rule,
    a_scored_evaluation,
    an_evaluation,
    an_incumbent,
    every_key,
    shares,
    the_decision,
)

KEPT = Path(__file__).parents[2] / "fixtures" / "decisions" / "version_1.json"
COMPARED = a_rule(**ONE_CELL, no_worse_than=Margins(incumbent=0.05, base=0.1))
POOR = dict.fromkeys(every_key(), a_cell(0.87)) | {a_key("bleu"): a_cell(60, 200, 0.5)}


def version_1(policy, candidate, incumbent=None, **changes):
    return the_decision(policy, candidate, incumbent=incumbent, verifier=GATE_V1, **changes)


@pytest.mark.parametrize(
    ("name", "decision"),
    [
        ("passed", version_1(a_policy_of(a_rule()), a_candidate(an_evaluation()))),
        (
            "failed-on-a-limit",
            version_1(
                a_policy_of(a_rule(), a_rule("bleu", at_least=30, min_samples=30, **ONE_CELL)),
                a_candidate(an_evaluation(cells=POOR)),
            ),
        ),
        (
            "failed-on-a-comparison",
            version_1(
                a_policy_of(COMPARED),
                a_candidate(
                    a_scored_evaluation("ours", shares(95)),
                    control_runs=(a_scored_evaluation("control", shares(80)),),
                ),
                an_incumbent(a_scored_evaluation("theirs", shares(100))),
            ),
        ),
    ],
)
def test_a_kept_decision_comes_out_the_same(name, decision):
    kept = json.loads(KEPT.read_text())[name]
    assert list(differences(kept, decision_document(decision))) == []
    assert DECISION.validate_python(kept).evidence_digest == decision.evidence_digest


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "aggregates"}, "has aggregates only"),
        ({"evaluator_id": AUTHOR}, "was recorded by a contributor"),
        ({"finished_at": NOW.replace(year=2025)}, "finished before"),
    ],
)
def test_version_1_says_why_an_evaluation_does_not_qualify(changes, reason):
    demand = EvidenceDemand(NOW - NOW.replace(month=2), "required", ("author",))
    policy = a_policy_of(a_rule(**ONE_CELL, suite_version=None), evidence=demand)
    *_, finding = version_1(policy, a_candidate(an_evaluation(**changes))).findings
    assert reason in finding.message


def test_version_1_refuses_another_version_of_a_pinned_suite():
    policy = a_policy_of(a_rule(**ONE_CELL, suite_version="4"))
    *_, finding = version_1(policy, a_candidate(an_evaluation())).findings
    assert "is by brand-voice@3, and the rule demands version 4" in finding.message


def test_version_1_does_not_compare_a_version_with_itself():
    policy = a_policy_of(COMPARED)
    found = version_1(policy, a_candidate(a_scored_evaluation()), an_incumbent(number=2)).findings
    assert "no incumbent other than this version" in str(found)
