"""Breaking the glass where the gate is shut: who may, what it takes, what stays to be seen."""

import pytest

from tests.support.builders import code, results

REASON = "the fleet answers in the wrong language, and this mends it"


@pytest.fixture
def shut_out(world):
    """A version that the gate of channel `production` refuses."""
    version = world.a_version()
    world.a_channel()
    world.evaluate(version, results=results(value=0.5))
    return version


def break_in(world, version, *, by="admin", reason=REASON, **changes):
    return world.request(version, by=by, break_glass=True, reason=reason, **changes)


def test_an_admin_can_serve_what_the_gate_refuses(world, shut_out):
    response = break_in(world, shut_out)

    promotion = response.json()
    assert (response.status_code, promotion["state"]) == (201, "executed")
    assert (promotion["break_glass"], promotion["decision"]["result"]) == (True, "failed")
    assert world.resolve().json()["version"] == 1


def test_it_stays_marked_on_channel_and_version_after_the_next_promotion(world, shut_out):
    break_in(world, shut_out)

    good = world.a_version(seed=2)
    world.evaluate(good)
    world.approve(world.request(good).json())

    shown = world.made("GET", f"{world.path}/versions", by="publisher")["items"]
    assert world.channel()["break_glass"] is True
    assert {each["number"]: each["break_glass"] for each in shown} == {1: True, 2: False}


def test_nothing_is_marked_that_was_promoted_as_usual(world):
    world.a_live_version()
    assert world.channel()["break_glass"] is False
    assert world.made("GET", f"{world.path}/versions/1", by="publisher")["break_glass"] is False


def test_request_and_execution_are_on_the_audit_log(world, shut_out):
    break_in(world, shut_out)

    request, execution = world.audit()[-2:]
    assert (request["action"], execution["action"]) == (
        "promotion.request",
        "promotion.break-glass",
    )
    assert execution["facts"]["reason"] == REASON


def test_only_an_admin_may(world, shut_out):
    before = world.actions()

    response = break_in(world, shut_out, by="publisher")

    assert (response.status_code, code(response)) == (403, "forbidden")
    assert world.actions() == before
    assert world.channel()["generation"] == 0


@pytest.mark.parametrize("reason", ["because", " " * 30, "because" + " " * 20])
def test_it_takes_a_reason_of_twenty_characters(world, shut_out, reason):
    response = break_in(world, shut_out, reason=reason)
    assert (response.status_code, code(response)) == (422, "invalid-request")


def test_a_revoked_version_stays_out(world, shut_out):
    world.revoke(shut_out)
    response = break_in(world, shut_out)
    assert (response.status_code, code(response)) == (410, "version-revoked")


def test_without_the_word_an_admin_is_refused_like_everybody(world, shut_out):
    _, token = world.a_principal(None, ("admin", world.namespace), ("publisher", world.namespace))
    response = world.request(shut_out, by=token)
    assert (response.status_code, code(response)) == (409, "gate-not-passed")
