"""A policy as sentences."""

from datetime import timedelta

from app.domain.governance.policies import (
    Approvals,
    ArtifactDemand,
    Canary,
    CanaryApprovals,
    CardDemand,
    Contributor,
    EvidenceDemand,
    Margins,
)
from app.pages.presentation.policy_text import sentences
from tests.support.evidence import a_policy_of, a_rule


def test_a_policy_states_all_its_requirements():
    policy = a_policy_of(
        a_rule(at_most=0.9, no_worse_than=Margins(incumbent=0.02, base=0.05)),
        approvals=Approvals(required=0),
        evidence=EvidenceDemand(timedelta(days=30), "required", (Contributor.AUTHOR,)),
        card=CardDemand(("licence",), ("knowledge",)),
        artifact=ArtifactDemand(max_parameter_fraction=0.001, max_virtual_tokens=1),
        canary=Canary(1000, CanaryApprovals(1)),
    )
    stated = {each.about: each.text for each in sentences(policy)}
    assert "no worse than each incumbent by more than 0.02" in stated["brand-voice/tone"]
    assert stated["Evidence"] == (
        "No older than 30 days. Evidence level 1 or more: one row per sample, from which the "
        "registry recomputes every number. Incumbents are what the channel fully served in its "
        "last 3 promotions. Not recorded by the author."
    )
    assert stated["Card"] == "Must state licence. Must not declare the use knowledge."
    assert "At most 1 virtual token." in stated["Artifact"]
    assert stated["Approvals"] == "None required: the gate alone decides."
    assert stated["Canary"].startswith("Up to 10\N{NO-BREAK SPACE}% of the traffic: 1 approval")
    waiting = a_policy_of(a_rule(), approvals=Approvals(exclude=(), wait=timedelta(hours=24)))
    (approvals,) = [each.text for each in sentences(waiting) if each.about == "Approvals"]
    assert "No earlier than 1 day after the request." in approvals


def test_a_rule_states_its_own_demands_and_no_others():
    (both,) = sentences(a_policy_of(a_rule(at_least=0.8, at_most=0.9)))[:1]
    assert "at least 0.8 and at most 0.9, shown" in both.text
    (against_base,) = sentences(
        a_policy_of(a_rule(at_least=None, no_worse_than=Margins(base=0.05)))
    )[:1]
    assert "no worse than the bare base model by more than 0.05, shown" in against_base.text
    assert "incumbent" not in against_base.text
    (against_live,) = sentences(
        a_policy_of(a_rule(at_least=None, no_worse_than=Margins(incumbent=0.02)))
    )[:1]
    assert "no worse than each incumbent by more than 0.02, shown" in against_live.text
    assert "base model" not in against_live.text
