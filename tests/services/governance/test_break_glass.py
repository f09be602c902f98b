"""Break-glass requests that the gate fails: permission, reason, execution and marks."""

import pytest

from tests.support.builders import code, results

REASON = "the fleet answers in the wrong language, and this version fixes it"


@pytest.fixture
def refused_version(world):
    """A version that the gate of channel `production` refuses."""
    version = world.a_version()
    world.a_channel()
    world.evaluate(version, results=results(value=0.5))
    return version


def request_break_glass(world, version, *, by="admin", reason=REASON, **changes):
    return world.request(version, by=by, break_glass=True, reason=reason, **changes)


def test_an_admin_can_serve_a_version_that_the_gate_refuses(world, refused_version):
    response = request_break_glass(world, refused_version)

    promotion = response.json()
    assert (response.status_code, promotion["state"]) == (201, "executed")
    assert (promotion["break_glass"], promotion["decision"]["result"]) == (True, "failed")
    assert world.resolve().json()["version"] == 1


def test_break_glass_stays_marked_on_channel_and_version_after_the_next_promotion(
    world, refused_version
):
    request_break_glass(world, refused_version)

    good = world.a_version(seed=2)
    world.evaluate(good)
    world.approve(world.request(good).json())

    shown = world.made("GET", f"{world.path}/versions", by="publisher")["items"]
    assert world.channel()["break_glass"] is True
    assert {each["number"]: each["break_glass"] for each in shown} == {1: True, 2: False}


def test_a_normal_promotion_is_not_marked_as_break_glass(world):
    world.a_live_version()
    assert world.channel()["break_glass"] is False
    assert world.made("GET", f"{world.path}/versions/1", by="publisher")["break_glass"] is False


def test_the_audit_log_has_the_request_and_the_execution(world, refused_version):
    request_break_glass(world, refused_version)

    request, execution = world.audit()[-2:]
    assert (request["action"], execution["action"]) == (
        "promotion.request",
        "promotion.break-glass",
    )
    assert execution["facts"]["reason"] == REASON


def test_only_an_admin_may_use_break_glass(world, refused_version):
    before = world.actions()

    response = request_break_glass(world, refused_version, by="publisher")

    assert (response.status_code, code(response)) == (403, "forbidden")
    assert world.actions() == before
    assert world.channel()["generation"] == 0


@pytest.mark.parametrize("reason", ["because", " " * 30, "because" + " " * 20])
def test_break_glass_requires_a_reason_of_twenty_characters(world, refused_version, reason):
    response = request_break_glass(world, refused_version, reason=reason)
    assert (response.status_code, code(response)) == (422, "invalid-request")


def test_break_glass_cannot_serve_a_revoked_version(world, refused_version):
    world.revoke(refused_version)
    response = request_break_glass(world, refused_version)
    assert (response.status_code, code(response)) == (410, "version-revoked")


def test_the_gate_refuses_an_admin_who_does_not_use_break_glass(world, refused_version):
    _, token = world.a_principal(None, ("admin", world.namespace), ("publisher", world.namespace))
    response = world.request(refused_version, by=token)
    assert (response.status_code, code(response)) == (409, "gate-not-passed")
