"""The very moments at which time moves a promotion: its expiry and the end of its wait."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from app.services.governance import due_promotions
from app.services.governance.due_promotions import process_due

TICK = timedelta(microseconds=1)


def moment(text):
    return datetime.fromisoformat(text)


@pytest.fixture
def waiting(world):
    """A promotion that is approved and waits for the end of an hour."""
    world.a_version()
    world.a_channel(approvals={"required": 1, "wait": "PT1H"})
    promotion = world.a_promotion(seed=1)
    return world.review(promotion, by="approver-1").json()


@pytest.mark.parametrize(
    ("early", "state"), [(TICK, "pending"), (0 * TICK, "executed")], ids=["before", "at"]
)
def test_at_its_very_due_time_a_promotion_executes(world, waiting, sessions, time, early, state):
    due = moment(waiting["waiting_for"]["not_before"])
    time.stop_at(due - early)
    process_due(sessions)
    assert world.promotion(waiting)["state"] == state


@pytest.mark.parametrize(
    ("early", "action"), [(TICK, "promotion.request"), (0 * TICK, "promotion.expire")]
)
def test_at_its_very_expiry_a_promotion_expires(world, sessions, time, early, action):
    promotion = world.a_promotion()
    time.stop_at(moment(promotion["expires_at"]) - early)
    process_due(sessions)
    assert world.actions()[-1] == action


def test_a_promotion_whose_wait_was_cancelled_is_left_alone(world, sessions, monkeypatch):
    promotion = world.a_promotion()
    found = [UUID(promotion["id"])]
    monkeypatch.setattr(due_promotions, "due_promotions", lambda *_, **__: found)
    assert process_due(sessions) == 1
    assert world.promotion(promotion)["state"] == "pending"


def test_at_its_very_expiry_a_promotion_takes_no_approval(world, time):
    promotion = world.a_promotion()
    expiry = moment(promotion["expires_at"])

    time.stop_at(expiry - TICK)
    assert world.review(promotion, by="approver-1").status_code == 200
    time.stop_at(expiry)
    assert "has expired" in world.review(promotion, by="approver-2").json()["detail"]


def test_at_its_very_expiry_a_promotion_is_not_withdrawn(world, time):
    promotion = world.a_promotion()
    time.stop_at(moment(promotion["expires_at"]))
    assert "expired at" in world.withdraw(promotion).json()["detail"]
