"""Which evaluations qualify as evidence for a candidate, and that all of their failures count."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.governance.gate import GateResult
from app.domain.governance.policies import Contributor, EvidenceDemand
from tests.support.evidence import (
    AUTHOR,
    EVALUATOR,
    NOW,
    ONE_CELL,
    OWNER,
    a_candidate,
    a_cell,
    a_policy_of,
    a_rule,
    a_suite,
    an_evaluation,
    passes,
    the_decision,
)

TONE_POLICY = a_policy_of(a_rule())


MAX_AGE = timedelta(days=30)
SECOND = timedelta(seconds=1)
STRICT = EvidenceDemand(MAX_AGE, "required", (Contributor.AUTHOR, Contributor.OWNER))
DISQUALIFIED = [
    pytest.param({"finished_at": NOW - MAX_AGE - SECOND}, id="too-old"),
    pytest.param({"level": 0}, id="aggregates-only"),
    pytest.param({"scope": "elsewhere"}, id="of-another-namespace"),
    pytest.param({"evaluator_id": AUTHOR}, id="by-the-author"),
    pytest.param({"evaluator_id": OWNER}, id="by-the-owner"),
]


@pytest.mark.parametrize("changes", DISQUALIFIED)
def test_a_disqualified_evaluation_never_satisfies_but_its_failure_counts(changes):
    policy = replace(TONE_POLICY, evidence=STRICT)
    perfect = an_evaluation("perfect", cells=a_cell(1.0, 10_000), **changes)
    bad = an_evaluation("bad", cells=a_cell(0.5), **changes)

    assert not passes(policy, perfect)
    assert passes(policy, perfect, an_evaluation())
    assert not passes(policy, bad, an_evaluation())
    # Without what disqualifies it, the same evaluation suffices.
    assert passes(policy, an_evaluation("perfect", cells=a_cell(1.0, 10_000)))


def test_another_version_of_the_suite_measures_something_else():
    of_it, other = a_suite(version="3"), a_suite(version="2")

    assert not passes(TONE_POLICY, an_evaluation(suite=other))
    bad = an_evaluation("bad", suite=other, cells=a_cell(0.5))
    assert passes(TONE_POLICY, bad, an_evaluation("new", suite=of_it))


def test_a_rule_without_a_suite_version_never_passes():
    policy = a_policy_of(a_rule(suite_version=None))

    (finding, *_) = [each for each in the_decision(policy, a_candidate()).findings if each.blocks]

    assert "names no suite version" in finding.message
    assert not passes(policy, an_evaluation())


def test_a_partial_evaluation_never_satisfies_but_counts_against_a_cell():
    assert not passes(TONE_POLICY, an_evaluation(partial=True))
    assert passes(TONE_POLICY, an_evaluation(), an_evaluation("good", partial=True))
    bad = an_evaluation("bad", partial=True, cells=a_cell(0))
    assert not passes(TONE_POLICY, an_evaluation(), bad)


@pytest.mark.parametrize(
    ("changes", "excluded"),
    [
        pytest.param({"finished_at": NOW - MAX_AGE}, (), id="exactly-of-the-age"),
        pytest.param({"evaluator_id": OWNER}, (Contributor.AUTHOR,), id="only-authors-excluded"),
        pytest.param(
            {"evaluator_id": EVALUATOR},
            (Contributor.AUTHOR, Contributor.OWNER),
            id="no-contributor",
        ),
    ],
)
def test_an_evaluation_that_the_policy_admits_is_qualified(changes, excluded):
    demand = EvidenceDemand(MAX_AGE, "required", excluded)

    assert passes(replace(TONE_POLICY, evidence=demand), an_evaluation(**changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param(
            {"level": 0}, "is of level 0, and the policy demands level 1", id="aggregates-only"
        ),
        pytest.param(
            {"scope": "elsewhere"},
            "was recorded by an evaluator of another namespace",
            id="of-another-namespace",
        ),
        pytest.param(
            {"evaluator_id": AUTHOR},
            "was recorded by a contributor that the policy excludes",
            id="by-the-author",
        ),
    ],
)
def test_a_finding_states_the_reason_of_a_disqualification(changes, reason):
    policy = a_policy_of(a_rule(**ONE_CELL), evidence=STRICT)

    (finding,) = blocking(the_decision(policy, a_candidate(an_evaluation(**changes))))

    assert finding.message == (
        f"tone for novice/en was measured, but the evaluation {reason}; record another."
    )


def test_a_finding_says_that_every_run_is_too_old():
    policy = a_policy_of(a_rule(**ONE_CELL), evidence=STRICT)
    old = an_evaluation(finished_at=NOW - 2 * MAX_AGE)

    (finding,) = blocking(the_decision(policy, a_candidate(old)))

    assert finding.message == (
        "Every run of tone for novice/en is older than the policy admits; record another."
    )


def blocking(decision):
    return [finding for finding in decision.findings if finding.blocks]


def test_time_only_ever_takes_evidence_away():
    policy = replace(TONE_POLICY, evidence=EvidenceDemand(max_age=MAX_AGE))
    candidate = a_candidate(an_evaluation(finished_at=NOW))

    results = [
        the_decision(policy, candidate, now=NOW + timedelta(days=day)).result for day in range(60)
    ]

    assert results == [GateResult.PASSED] * 31 + [GateResult.FAILED] * 29


def test_an_evaluation_by_another_suite_is_not_evidence():
    other = a_suite(name="brand-tone")

    assert not passes(TONE_POLICY, an_evaluation(suite=other))
    assert passes(TONE_POLICY, an_evaluation(), an_evaluation("bad", suite=other, cells=a_cell(0)))
