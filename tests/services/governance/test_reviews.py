"""Reviews: eligible reviewers, approvals that count, re-evaluation, expiry and execution."""

from datetime import timedelta

import pytest

from tests.support.builders import code, results


def counting(promotion):
    return [review["reviewer"] for review in promotion["reviews"] if review["counts"]]


def digest_in(promotion):
    return promotion["decision"]["candidates"][0]["digest"]


def missing_approvals(promotion):
    waiting = promotion["waiting_for"]
    return waiting["approvals"], waiting["eligible"]


@pytest.fixture
def approved_once(world):
    """A pending promotion that approver-1 has approved."""
    promotion = world.a_promotion()
    return world.review(promotion, by="approver-1").json()


def test_an_approval_reduces_the_missing_approvals(world, approved_once):
    assert counting(approved_once) == ["approver-1"]
    assert missing_approvals(approved_once) == (1, ["approver-2"])


def test_the_last_approval_executes(world, approved_once):
    executed = world.review(approved_once, by="approver-2").json()

    assert (executed["state"], executed["waiting_for"]) == ("executed", None)
    assert world.channel()["allocation"] == [{"version": 1, "weight": 10_000}]


def test_an_approval_is_on_the_audit_log_with_its_evidence_digest(world, approved_once):
    entry = world.audit()[-1]

    assert entry["action"] == "promotion.approve"
    assert entry["principal"] == "approver-1"
    assert entry["facts"]["evidence_digest"] == approved_once["evidence_digest"]
    assert entry["facts"]["comment"] == "looks right"


def test_a_reviewer_cannot_approve_the_same_subject_twice(world, approved_once):
    response = world.review(approved_once, by="approver-1")

    assert (response.status_code, code(response)) == (409, "already-reviewed")
    assert missing_approvals(world.promotion(approved_once)) == (1, ["approver-2"])


def test_one_rejection_ends_the_promotion(world, approved_once):
    rejected = world.review(approved_once, by="approver-2", verdict="reject", comment="no").json()

    assert (rejected["state"], rejected["closing_reason"]) == ("rejected", "no")
    assert world.channel()["generation"] == 0
    assert world.actions()[-1] == "promotion.reject"


def test_a_rejection_requires_a_comment(world):
    response = world.review(world.a_promotion(), by="approver-1", verdict="reject", comment=" ")
    assert (response.status_code, code(response)) == (422, "invalid-request")


def test_a_promotion_can_be_rejected_when_the_gate_fails(world):
    version = world.an_evaluated_version()
    promotion = world.request(version).json()
    world.evaluate(version, results=results(value=0.1))

    rejected = world.review(promotion, by="approver-1", verdict="reject", comment="too rude")

    assert rejected.json()["state"] == "rejected"


def test_an_ended_promotion_cannot_be_reviewed(world, approved_once):
    world.withdraw(approved_once)

    response = world.review(approved_once, by="approver-2")

    assert (response.status_code, code(response)) == (409, "invalid-transition")
    assert response.json()["state"] == "withdrawn"


# Changes of the approval subject, and expiry of approvals


def test_approvals_are_void_once_an_evaluation_is_recorded(world, approved_once):
    world.evaluate({"number": 1, "digest": digest_in(approved_once)})

    promotion = world.promotion(approved_once)

    assert counting(promotion) == []
    assert missing_approvals(promotion) == (2, ["approver-1", "approver-2"])
    assert promotion["evidence_digest"] != approved_once["evidence_digest"]


def test_approvals_are_void_once_an_evaluation_is_voided(world):
    version = world.an_evaluated_version()
    extra = world.evaluate(version).json()
    promotion = world.request(version).json()
    world.review(promotion, by="approver-1")

    world.void(extra)

    assert counting(world.promotion(promotion)) == []


def test_approvals_are_void_once_the_channel_is_under_another_policy(world, approved_once):
    world.a_channel(approvals={"required": 2, "wait": "PT0S", "valid_for": "P3D"})

    promotion = world.promotion(approved_once)

    assert counting(promotion) == []
    assert (
        promotion["decision"]["policy"]["digest"] != approved_once["decision"]["policy"]["digest"]
    )


def test_approvals_still_count_after_an_evaluation_of_another_version(world, approved_once):
    world.an_evaluated_version(seed=2)
    assert counting(world.promotion(approved_once)) == ["approver-1"]


def test_a_reviewer_may_approve_again_after_a_change(world, approved_once):
    world.evaluate({"number": 1, "digest": digest_in(approved_once)})

    again = world.review(approved_once, by="approver-1").json()

    assert missing_approvals(again) == (1, ["approver-2"])
    assert [review["counts"] for review in again["reviews"]] == [False, True]


def test_an_expired_approval_no_longer_counts(world, approved_once, time):
    time.ahead = timedelta(days=7, minutes=1)

    promotion = world.promotion(approved_once)

    assert counting(promotion) == []
    assert missing_approvals(promotion) == (2, ["approver-1", "approver-2"])


def test_an_expired_approval_does_not_complete_a_promotion(world, approved_once, time):
    time.ahead = timedelta(days=7, minutes=1)
    reviewed = world.review(approved_once, by="approver-2").json()
    assert (reviewed["state"], counting(reviewed)) == ("pending", ["approver-2"])


def test_a_reviewer_may_approve_again_once_an_approval_has_expired(world, approved_once, time):
    time.ahead = timedelta(days=7, minutes=1)

    again = world.review(approved_once, by="approver-1")

    assert again.status_code == 200
    assert missing_approvals(again.json()) == (1, ["approver-2"])


def test_the_approval_of_a_reviewer_who_lost_the_role_no_longer_counts(world):
    promotion = world.a_promotion()
    name, token = world.a_principal(None, ("approver", world.namespace))
    assert counting(world.review(promotion, by=token).json()) == [name]

    world.made("PUT", "/v1/grants", by="admin", json={"principal": name, "grants": []})

    assert counting(world.promotion(promotion)) == []


# Re-evaluation of the gate


def test_the_gate_is_evaluated_again_at_the_last_approval(world):
    version = world.an_evaluated_version()
    promotion = world.request(version).json()
    world.evaluate(version, results=results(value=0.5))

    response = world.review(promotion, by="approver-1")

    assert (response.status_code, code(response)) == (409, "gate-not-passed")
    failed = [each for each in response.json()["findings"] if each["outcome"] == "failed"]
    assert [each["observed"] for each in failed] == [0.725] * 4  # 0.95 and 0.5 on as many samples


def test_an_approval_that_the_gate_refuses_is_not_recorded(world):
    version = world.an_evaluated_version()
    promotion = world.request(version).json()
    world.evaluate(version, results=results(value=0.5))
    before = world.actions()

    world.review(promotion, by="approver-1")

    after = world.promotion(promotion)
    assert (after["state"], after["reviews"]) == ("pending", [])
    assert world.actions() == before
    assert world.channel()["generation"] == 0


def test_the_gate_fails_when_evidence_becomes_too_old(world, time):
    version = world.a_version()
    world.a_channel(evidence={"max_age": "P3D", "level": 0})
    world.evaluate(version)
    promotion = world.request(version).json()
    time.ahead = timedelta(days=4)

    response = world.review(promotion, by="approver-1")

    assert (response.status_code, code(response)) == (409, "gate-not-passed")


# Expiry


def test_an_overdue_promotion_is_shown_as_expired(world, approved_once, time):
    time.ahead = timedelta(days=31)

    promotion = world.promotion(approved_once)

    assert (promotion["state"], promotion["waiting_for"]) == ("expired", None)


def test_an_expired_promotion_cannot_be_reviewed_and_records_its_end_once(
    world, approved_once, time
):
    time.ahead = timedelta(days=31)

    responses = [world.review(approved_once, by="approver-2") for _ in range(2)]

    assert [code(response) for response in responses] == ["invalid-transition"] * 2
    assert [response.json()["state"] for response in responses] == ["expired"] * 2
    assert world.actions().count("promotion.expire") == 1
    assert world.promotion(approved_once)["closing_reason"].startswith("It was not executed")


# Separation of duties


def contributor(world, *roles, kind="human"):
    grants = [(role, world.namespace) for role in ("approver", *roles)]
    return world.a_principal(None, *grants, kind=kind)


def test_the_requester_may_not_review(world):
    _, token = contributor(world, "publisher")
    promotion = world.request(world.an_evaluated_version(), by=token).json()

    response = world.review(promotion, by=token)

    assert (response.status_code, code(response)) == (403, "separation-of-duties")
    assert "the requester" in response.json()["detail"]


def test_the_author_may_not_review(world):
    _, token = contributor(world, "publisher")
    world.a_base()
    world.a_prefix()
    version = world.push(by=token).json()
    world.a_channel()
    world.evaluate(version)

    response = world.review(world.request(version).json(), by=token)

    assert (response.status_code, code(response)) == (403, "separation-of-duties")
    assert "an author" in response.json()["detail"]


def test_the_owner_may_not_review(world):
    name, token = contributor(world)
    world.a_base()
    world.a_prefix(owner=name)

    response = world.review(world.a_promotion(), by=token)

    assert (response.status_code, code(response)) == (403, "separation-of-duties")
    assert "the owner" in response.json()["detail"]


def test_an_evaluator_of_the_version_may_not_review(world):
    _, token = contributor(world, "evaluator")
    version = world.a_version()
    world.a_channel()
    world.evaluate(version, by=token)

    response = world.review(world.request(version).json(), by=token)

    assert (response.status_code, code(response)) == (403, "separation-of-duties")
    assert "an evaluator" in response.json()["detail"]


def test_an_evaluator_whose_evaluation_was_voided_may_review(world):
    name, token = contributor(world, "evaluator")
    version = world.an_evaluated_version()
    world.void(world.evaluate(version, by=token).json())

    promotion = world.request(version).json()

    assert name in promotion["waiting_for"]["eligible"]
    assert world.review(promotion, by=token).status_code == 200


def test_an_approval_no_longer_counts_after_its_reviewer_evaluates(world):
    promotion = world.a_promotion()
    name, token = contributor(world, "evaluator")
    world.review(promotion, by=token)

    world.evaluate({"number": 1, "digest": digest_in(promotion)}, by=token)

    assert counting(world.promotion(promotion)) == []
    assert name not in world.promotion(promotion)["waiting_for"]["eligible"]


def test_a_service_may_not_review_where_a_human_must(world):
    _, token = contributor(world, kind="service")
    response = world.review(world.a_promotion(), by=token)
    assert (response.status_code, code(response)) == (403, "separation-of-duties")
    assert "is a service" in response.json()["detail"]


def test_a_service_may_review_where_the_policy_allows_it(world):
    _, token = contributor(world, kind="service")
    version = world.a_version()
    world.a_channel(approvals={"required": 1, "human": False})
    world.evaluate(version)
    promotion = world.request(version).json()
    assert world.review(promotion, by=token).json()["state"] == "executed"


def test_a_principal_without_the_approver_role_may_not_review(world):
    _, token = world.a_principal(None, ("publisher", world.namespace))

    response = world.review(world.a_promotion(), by=token)

    assert (response.status_code, code(response)) == (403, "forbidden")
