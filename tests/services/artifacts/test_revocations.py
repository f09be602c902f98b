"""Revoking a version on all channels at once, permanently."""

import pytest

from tests.support.builders import code


def promote(world, version, channel):
    """Promote a version to a channel and approve it."""
    response = world.request(version, channel=channel)
    assert response.status_code == 201, response.text
    world.approve(response.json())


def test_a_revoked_version_shows_the_reason_and_the_principal(world):
    revoked = world.revoke(world.a_version(), reason="it leaks names").json()["revoked"]
    assert (revoked["reason"], revoked["by"]) == ("it leaks names", "approver-1")


def test_a_revocation_has_one_entry_on_the_audit_log(world):
    version = world.a_version()

    world.revoke(version)

    entry = world.audit()[-1]
    assert entry["action"] == "version.revoke"
    assert entry["facts"]["digest"] == version["digest"]
    assert entry["facts"]["reason"] == "it leaks names"


def test_revoking_the_only_live_version_leaves_the_channel_empty(world):
    version = world.a_live_version()

    world.revoke(version)

    assert world.channel()["allocation"] == []
    assert [each["kind"] for each in world.history()] == ["revocation", "promotion"]
    assert world.actions()[-2:] == ["version.revoke", "channel.withdraw"]


def test_resolving_an_emptied_channel_gives_the_reason(world):
    world.revoke(world.a_live_version(), reason="it leaks names")

    response = world.resolve()

    assert (response.status_code, code(response)) == (410, "version-revoked")
    assert "it leaks names" in response.json()["detail"]


def test_every_channel_that_serves_the_version_is_changed(world):
    version = world.a_live_version()
    world.a_channel("staging")
    promote(world, version, "staging")

    world.revoke(version)

    assert world.channel("production")["allocation"] == []
    assert world.channel("staging")["allocation"] == []


def test_the_traffic_of_a_revoked_version_goes_to_the_others_in_proportion(world):
    world.a_live_version(seed=1)
    revoked = world.an_evaluated_version(seed=2)
    world.an_evaluated_version(seed=3)
    allocation = [
        {"version": 1, "weight": 6000},
        {"version": 2, "weight": 2000},
        {"version": 3, "weight": 2000},
    ]
    world.approve(world.request(allocation=allocation).json())

    world.revoke(revoked)

    assert world.channel()["allocation"] == [
        {"version": 1, "weight": 7500},
        {"version": 3, "weight": 2500},
    ]


def test_a_channel_that_does_not_serve_the_version_is_not_changed(world):
    world.a_live_version(seed=1)
    other = world.a_version(seed=2)

    world.revoke(other)

    assert world.channel()["generation"] == 1
    assert world.resolve().json()["version"] == 1


def test_a_pending_promotion_of_the_version_is_superseded(world):
    version = world.an_evaluated_version()
    promotion = world.request(version).json()

    world.revoke(version)

    ended = world.promotion(promotion)
    assert (ended["state"], ended["closing_reason"]) == ("superseded", "Version 1 was revoked.")
    assert world.actions()[-2:] == ["version.revoke", "promotion.supersede"]


def test_a_pending_promotion_of_other_versions_stays_pending(world):
    promotion = world.a_promotion(seed=1)
    world.revoke(world.a_version(seed=2))
    assert world.promotion(promotion)["state"] == "pending"


def test_a_version_can_be_revoked_only_once(world):
    version = world.a_version()
    world.revoke(version)

    response = world.revoke(version)

    assert (response.status_code, code(response)) == (410, "version-revoked")
    assert world.actions().count("version.revoke") == 1


def test_a_revoked_version_cannot_be_downloaded(world):
    version = world.a_version()
    world.revoke(version)
    path = f"{world.path}/versions/1/files/adapter_config.json"
    response = world.call("GET", path, by="publisher")
    assert (response.status_code, code(response)) == (410, "version-revoked")


def test_the_gate_refuses_a_revoked_version(world):
    version = world.an_evaluated_version()
    world.revoke(version)
    response = world.gate(version)
    assert (response.status_code, code(response)) == (410, "version-revoked")


def test_pushing_a_revoked_version_again_does_not_bring_it_back(world):
    world.revoke(world.a_version(seed=1))
    again = world.push(seed=1)
    assert again.status_code == 200
    assert again.json()["revoked"]["reason"] == "it leaks names"


def test_a_version_that_does_not_exist_cannot_be_revoked(world):
    world.a_version()
    response = world.revoke({"number": 7})
    assert (response.status_code, code(response)) == (404, "not-found")


@pytest.mark.parametrize("role", ["publisher", "evaluator", "admin"])
def test_only_approvers_revoke(world, role):
    response = world.revoke(world.a_version(), by=role)
    assert (response.status_code, code(response)) == (403, "forbidden")
