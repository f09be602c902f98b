"""The very moments at which time moves a promotion: its expiry and the end of its wait."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from app.domain.errors import InvalidTransitionError
from app.domain.governance.approvals import Verdict
from app.domain.identity.access import EVERYWHERE, Caller, Grant, PrincipalKind, Role
from app.services.governance import due_promotions
from app.services.governance.due_promotions import process_due
from app.services.governance.promotions import withdraw
from app.services.governance.reviews import review

TICK = timedelta(microseconds=1)


def as_principal(world, name, role):
    """Return one of the first principals as services know it."""
    found = world.made("GET", f"/v1/principals/{name}", by="admin")
    kind = PrincipalKind(found["kind"])
    return Caller(UUID(found["id"]), name, kind, frozenset({Grant(role, EVERYWHERE)}))


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
def test_at_its_very_due_time_a_promotion_executes(world, waiting, sessions, early, state):
    due = moment(waiting["waiting_for"]["not_before"])
    process_due(sessions, now=due - early)
    assert world.promotion(waiting)["state"] == state


@pytest.mark.parametrize(
    ("early", "action"), [(TICK, "promotion.request"), (0 * TICK, "promotion.expire")]
)
def test_at_its_very_expiry_a_promotion_expires(world, sessions, early, action):
    promotion = world.a_promotion()
    process_due(sessions, now=moment(promotion["expires_at"]) - early)
    assert world.actions()[-1] == action


def test_a_promotion_whose_wait_was_cancelled_is_left_alone(world, sessions, monkeypatch):
    promotion = world.a_promotion()
    found = [UUID(promotion["id"])]
    monkeypatch.setattr(due_promotions, "due_promotions", lambda *_, **__: found)
    now = moment(promotion["created_at"]) + TICK
    assert process_due(sessions, now=now) == 1
    assert world.promotion(promotion)["state"] == "pending"


def test_at_its_very_expiry_a_promotion_takes_no_approval(world, sessions):
    promotion = world.a_promotion()
    arguments = {
        "promotion_id": UUID(promotion["id"]),
        "verdict": Verdict.APPROVE,
        "comment": "looks right",
        "caller": as_principal(world, "approver-1", Role.APPROVER),
    }
    expiry = moment(promotion["expires_at"])

    review(sessions, **arguments, now=expiry - TICK)
    with pytest.raises(InvalidTransitionError, match="has expired"):
        review(sessions, **arguments, now=expiry)


def test_at_its_very_expiry_a_promotion_is_not_withdrawn(world, sessions):
    promotion = world.a_promotion()
    publisher = as_principal(world, "publisher", Role.PUBLISHER)
    with pytest.raises(InvalidTransitionError, match="expired at"):
        withdraw(
            sessions,
            promotion_id=UUID(promotion["id"]),
            caller=publisher,
            now=moment(promotion["expires_at"]),
        )
