"""The demands of the gate on an artifact and its card."""

import math
from dataclasses import replace

import pytest

from app.domain.governance.findings import Outcome
from app.domain.governance.policies import ArtifactDemand, CardDemand
from tests.support.evidence import (
    a_candidate,
    a_policy_of,
    a_rule,
    an_evaluation,
    passes,
    the_decision,
)

TONE_POLICY = a_policy_of(a_rule())


def outcomes(policy, *evaluations, **candidate):
    """Return the outcome of every finding by its rule."""
    found = the_decision(policy, a_candidate(*evaluations, **candidate)).findings
    return {finding.rule: finding.outcome for finding in found}


@pytest.mark.parametrize(
    ("demand", "candidate", "rule", "passed"),
    [
        pytest.param({}, {}, "types", True, id="a-prefix"),
        pytest.param({}, {"peft_type": "LORA"}, "types", False, id="no-prefix"),
        pytest.param({"types": ("CARTRIDGE",)}, {}, "types", False, id="a-type-not-admitted"),
        pytest.param({"max_virtual_tokens": 20}, {}, "max_virtual_tokens", True, id="tokens"),
        pytest.param({"max_virtual_tokens": 19}, {}, "max_virtual_tokens", False, id="many-tokens"),
        pytest.param(
            {"max_parameter_fraction": 0.0004}, {}, "max_parameter_fraction", True, id="parameters"
        ),
        pytest.param(
            {"max_parameter_fraction": 0.0003},
            {},
            "max_parameter_fraction",
            False,
            id="many-parameters",
        ),
        pytest.param(
            {"max_parameter_fraction": 1.0},
            {"parameter_fraction": math.nan},
            "max_parameter_fraction",
            False,
            id="nan-parameters",
        ),
    ],
)
def test_an_artifact_must_meet_the_demands_of_the_policy(demand, candidate, rule, passed):
    policy = replace(TONE_POLICY, artifact=ArtifactDemand(**demand))

    found = outcomes(policy, an_evaluation(), **candidate)

    assert (found[f"artifact/{rule}"] is Outcome.PASSED) is passed
    assert passes(policy, an_evaluation(), **candidate) is passed


def test_an_artifact_finding_carries_its_numbers():
    policy = replace(TONE_POLICY, artifact=ArtifactDemand(max_virtual_tokens=19))

    found = the_decision(policy, a_candidate()).findings[1]

    assert (found.observed, found.demanded, found.demand) == (20, 19, "fact")
    assert found.message == "max_virtual_tokens is 20; the policy admits 19."


@pytest.mark.parametrize(
    ("card", "passed"),
    [
        pytest.param({"licence": "apache-2.0"}, True, id="stated"),
        pytest.param({"licence": [{"name": "x"}]}, True, id="a-list"),
        pytest.param({}, False, id="absent"),
        pytest.param({"licence": None}, False, id="null"),
        pytest.param({"licence": ""}, False, id="empty"),
        pytest.param({"licence": " \n"}, False, id="blank"),
        pytest.param({"licence": []}, False, id="an-empty-list"),
        pytest.param({"Licence": "apache-2.0"}, False, id="under-another-name"),
    ],
)
def test_a_card_must_state_the_fields_that_the_policy_requires(card, passed):
    policy = replace(TONE_POLICY, card=CardDemand(required=("licence",)))

    assert passes(policy, an_evaluation(), card=card) is passed


@pytest.mark.parametrize(
    ("card", "passed"),
    [
        pytest.param({"uses": ["tone"]}, True, id="another-use"),
        pytest.param({"uses": ["tone", "knowledge"]}, False, id="the-forbidden-use"),
        pytest.param({"uses": ("knowledge",)}, False, id="in-a-tuple"),
        pytest.param({"uses": "knowledge"}, False, id="as-a-text"),
        pytest.param({"uses": []}, True, id="no-use"),
        pytest.param({}, True, id="nothing-declared"),
        pytest.param({"uses": None}, True, id="null"),
    ],
)
def test_a_card_must_not_declare_a_forbidden_use(card, passed):
    policy = replace(TONE_POLICY, card=CardDemand(forbid_uses=("knowledge",)))

    assert passes(policy, an_evaluation(), card=card) is passed


def test_a_card_finding_describes_the_card():
    policy = replace(TONE_POLICY, card=CardDemand(("licence", "limits"), ("knowledge", "tone")))
    card = {"licence": "apache-2.0", "uses": ["tone"]}

    found = the_decision(policy, a_candidate(card=card)).findings

    assert [finding.message for finding in found if finding.rule.startswith("card/")] == [
        "The card states licence.",
        "The card does not state limits.",
        "The card does not declare the use knowledge, which the policy forbids.",
        "The card declares the use tone, which the policy forbids.",
    ]
