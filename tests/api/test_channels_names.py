"""Channel names: those with another meaning are refused on every path that takes a channel."""

import json

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

RESERVED = ["main", "master", "head", "latest", "v2", "v0", "a" * 40, "0" * 64, "1234567", "a..b"]
UNREADABLE = ["HEAD", "V2", "refs/heads/main"]  # no path or query of a channel admits these


@pytest.fixture
def released(world):
    world.a_live_version()
    return world


def paths(world, name):
    """Return a request for each way to name a channel."""
    channel = f"{world.path}/channels/{name}"
    binding = {"policy": world.policy["name"], "policy_version": 1}
    wanted = {"channel": name, "version": 1, "reason": "better"}
    limited = {"principal": "reader", "channels": ["staging", name]}
    return {
        "bind": ("PUT", channel, "admin", {"json": binding}),
        "read": ("GET", channel, "reader", {}),
        "history": ("GET", f"{channel}/history", "reader", {}),
        "rollback": (
            "POST",
            f"{channel}/rollback",
            "approver-1",
            {"json": {"generation": 1, "reason": "worse"}},
        ),
        "gate": (
            "GET",
            f"{world.path}/versions/1/gate",
            "evaluator",
            {"params": {"channel": name}},
        ),
        "promotion": ("POST", f"{world.path}/promotions", "publisher", {"json": wanted}),
        "resolve": ("GET", f"/v1/resolve/{world.prefix}", "reader", {"params": {"channel": name}}),
        "token": ("POST", "/v1/tokens", "admin", {"json": limited}),
    }


def codes(response):
    return [fault["code"] for fault in response.json()["faults"]]


@pytest.mark.parametrize(
    "way", ["bind", "read", "history", "rollback", "gate", "promotion", "resolve", "token"]
)
def test_a_reserved_name_is_refused_on_every_path(released, way):
    released.policy = released.a_policy()
    for name in RESERVED:
        method, path, by, more = paths(released, name)[way]
        response = released.call(method, path, by=by, **more)
        assert response.status_code == 422, (name, response.text)
        assert codes(response) == ["reserved-channel-name"]
        (fault,) = response.json()["faults"]
        assert f"{json.dumps(name)} cannot be a channel" in fault["message"]
        assert "such as production or staging" in fault["message"]


@pytest.mark.parametrize("way", ["gate", "promotion", "resolve", "token"])
def test_such_names_in_another_case_or_with_slashes_are_refused_alike(released, way):
    released.policy = released.a_policy()
    for name in UNREADABLE:
        method, path, by, more = paths(released, name)[way]
        assert codes(released.call(method, path, by=by, **more)) == ["reserved-channel-name"]


def test_the_database_refuses_reserved_names_as_well(released, sessions):
    rename = text("UPDATE channel SET name = :name WHERE name = 'production'")
    for name in RESERVED:
        refused = pytest.raises(IntegrityError, match="name_not_reserved")
        with refused, sessions.begin() as session:
            session.execute(rename, {"name": name})


@pytest.mark.parametrize("name", ["production", "v2-rc", "beta", "facade", "2"])
def test_other_names_are_channels(world, name):
    world.a_version()
    policy = world.a_policy()
    binding = {"policy": policy["name"], "policy_version": 1}
    response = world.call("PUT", f"{world.path}/channels/{name}", by="admin", json=binding)
    assert response.status_code == 200, response.text
