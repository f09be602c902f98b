"""The wait that a policy sets, and what time does to promotions by itself."""

from datetime import UTC, datetime, timedelta

import pytest

from app.services.settlement import settle
from tests.builders import results

WAIT = timedelta(hours=24)


@pytest.fixture
def later(sessions):
    """Let the registry do what is due some time from now."""

    def later(**ahead):
        now = datetime.now(UTC) + timedelta(**ahead)  # noqa: TID251 - it stands in for the clock
        while settle(sessions, now=now):
            pass

    return later


@pytest.fixture
def waiting(world):
    """A promotion that is approved in full and waits for the end of a day."""
    world.a_version()
    world.a_channel(approvals={"required": 2, "wait": "PT24H"})
    promotion = world.a_promotion(seed=1)
    for reviewer in ("approver-1", "approver-2"):
        response = world.review(promotion, by=reviewer)
        assert response.status_code == 200, response.text
    return response.json()


def moment(text):
    return datetime.fromisoformat(text)


def test_a_promotion_approved_in_full_still_waits(world, waiting):
    wait = moment(waiting["waiting_for"]["not_before"]) - moment(waiting["created_at"])

    assert (waiting["state"], waiting["waiting_for"]["approvals"]) == ("pending", 0)
    assert wait == WAIT
    assert world.channel()["generation"] == 0


def test_nothing_happens_before_the_wait_is_over(world, waiting, later):
    later(hours=23)
    assert world.promotion(waiting)["state"] == "pending"


def test_the_end_of_the_wait_executes(world, waiting, later):
    later(hours=25)

    assert world.promotion(waiting)["state"] == "executed"
    assert world.channel()["allocation"] == [{"version": 2, "weight": 10_000}]


def test_what_time_executes_the_registry_itself_did(world, waiting, later):
    later(hours=25)

    entry = world.audit()[-1]
    assert (entry["action"], entry["principal"]) == ("promotion.execute", "prefix-registry")
    assert world.history()[0]["executed_by"] == "prefix-registry"


def test_settling_twice_executes_once(world, waiting, later):
    later(hours=25)
    later(hours=26)

    assert world.channel()["generation"] == 1
    assert world.actions().count("promotion.execute") == 1


def test_an_approval_after_the_wait_executes_at_once(world, time):
    world.a_version()
    world.a_channel(approvals={"required": 1, "wait": "PT1H"})
    promotion = world.a_promotion(seed=1)
    time.ahead = timedelta(hours=2)

    assert world.review(promotion, by="approver-1").json()["state"] == "executed"


def test_a_promotion_that_needs_no_approval_waits_all_the_same(world, later):
    world.a_version()
    world.a_channel(approvals={"required": 0, "wait": "PT1H"})
    promotion = world.a_promotion(seed=1)
    assert promotion["state"] == "pending"

    later(hours=2)

    assert world.promotion(promotion)["state"] == "executed"


def test_new_evidence_voids_the_approvals_and_begins_the_wait_anew(world, waiting, later, time):
    time.ahead = timedelta(hours=20)
    world.evaluate({"number": 2, "digest": waiting["decision"]["candidates"][0]["digest"]})

    later(hours=25)

    promotion = world.promotion(waiting)
    begun = moment(promotion["waiting_for"]["not_before"]) - WAIT
    assert promotion["state"] == "pending"
    assert promotion["waiting_for"]["approvals"] == 2
    assert begun - moment(waiting["created_at"]) >= timedelta(hours=20)


def test_evidence_that_comes_and_goes_again_leaves_the_approvals_void(world, waiting, later):
    version = {"number": 2, "digest": waiting["decision"]["candidates"][0]["digest"]}
    extra = world.evaluate(version, results=results(value=0.2)).json()
    world.void(extra)

    later(hours=30)

    promotion = world.promotion(waiting)
    assert promotion["subject_digest"] == waiting["subject_digest"]
    assert (promotion["state"], promotion["waiting_for"]["approvals"]) == ("pending", 2)


def test_a_gate_that_closes_during_the_wait_keeps_the_channel_as_it_is(world, later):
    world.a_version()
    demands = {"approvals": {"required": 1, "wait": "P2D"}, "evidence": {"max_age": "P1D"}}
    world.a_channel(**demands)
    promotion = world.a_promotion(seed=1)
    world.review(promotion, by="approver-1")

    later(days=3)

    held = world.promotion(promotion)
    assert (held["state"], held["decision"]["result"]) == ("pending", "failed")
    assert world.actions()[-1] == "promotion.hold"
    assert world.channel()["generation"] == 0


def test_breaking_the_glass_does_not_wait(world, waiting):
    assert world.break_glass(waiting).json()["state"] == "executed"


def test_whoever_was_revoked_during_the_wait_is_not_executed(world, waiting, later):
    world.revoke({"number": 2})
    later(hours=25)
    assert world.promotion(waiting)["state"] == "superseded"


def test_a_promotion_that_nobody_completed_expires_on_the_record(world, later):
    promotion = world.a_promotion()

    later(days=31)

    assert world.promotion(promotion)["state"] == "expired"
    assert world.actions()[-1] == "promotion.expire"


def test_an_approval_of_what_the_reviewer_saw_counts(world):
    promotion = world.a_promotion()
    seen = {"subject_digest": promotion["subject_digest"]}
    assert world.review(promotion, by="approver-1", **seen).status_code == 200


def test_an_approval_of_what_has_changed_since_is_refused(world):
    promotion = world.a_promotion()
    world.evaluate({"number": 1, "digest": promotion["decision"]["candidates"][0]["digest"]})

    seen = {"subject_digest": promotion["subject_digest"]}
    response = world.review(promotion, by="approver-1", **seen)

    assert response.status_code == 409
    assert response.json()["subject_digest"] == world.promotion(promotion)["subject_digest"]
    assert world.promotion(promotion)["reviews"] == []
