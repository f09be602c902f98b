"""Resolving a channel: the version for each unit, and the refusals."""

from collections import Counter

import pytest

from tests.support.builders import a_digest, code


@pytest.fixture
def split(world):
    """A channel that serves version 1 to 70 % of units and version 2 to 30 %."""
    world.a_live_version(seed=1)
    world.an_evaluated_version(seed=2)
    move_to(world, 7000)
    return world


def move_to(world, weight):
    """Give version 1 `weight` and version 2 the rest."""
    allocation = [{"version": 1, "weight": weight}, {"version": 2, "weight": 10_000 - weight}]
    world.approve(world.request(allocation=allocation).json())


def assigned(world, units):
    return {unit: world.resolve(unit=unit).json()["version"] for unit in units}


def test_a_channel_to_which_nothing_was_promoted_is_empty(world):
    world.a_version()
    world.a_channel()
    response = world.resolve(by="publisher")
    assert (response.status_code, code(response)) == (404, "channel-empty")


def test_a_channel_that_was_never_bound_is_not_found(world):
    world.a_live_version()
    response = world.resolve(channel="staging")
    assert (response.status_code, code(response)) == (404, "not-found")


def test_a_fleet_with_another_base_model_is_refused(world):
    world.a_live_version()
    response = world.resolve(base_model=a_digest())
    assert (response.status_code, code(response)) == (409, "base-model-mismatch")
    assert response.json()["base_model"] == world.base


def test_a_fleet_with_the_right_base_model_is_served(world):
    world.a_live_version()
    assert world.resolve(base_model=world.base).json()["version"] == 1


def test_an_unchanged_channel_is_not_sent_again(world):
    world.a_live_version()
    etag = world.resolve().headers["etag"]

    response = world.call(
        "GET", f"/v1/resolve/{world.prefix}", by="reader", headers={"If-None-Match": etag}
    )

    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == etag


def test_a_changed_channel_is_sent(world):
    world.a_live_version(seed=1)
    etag = world.resolve().headers["etag"]
    world.a_live_version(seed=2)

    response = world.call(
        "GET", f"/v1/resolve/{world.prefix}", by="reader", headers={"If-None-Match": etag}
    )

    assert (response.status_code, response.json()["version"]) == (200, 2)


def test_a_request_without_a_unit_gets_the_heaviest_version(split):
    found = split.resolve().json()
    assert (found["version"], found["weight"]) == (1, 7000)


def test_the_same_unit_always_gets_the_same_version(split):
    units = [f"user-{number}" for number in range(8)]
    assert assigned(split, units) == assigned(split, units)


def test_units_are_split_in_proportion_to_the_weights(split):
    # The channel's random id salts the draw: at 5.5 standard deviations, one run in 20 million
    # would leave the bounds by chance.
    units = [f"user-{number}" for number in range(240)]
    found = Counter(assigned(split, units).values())
    assert 33 <= found[2] <= 111  # 72 expected, with a standard deviation of 7.1


def test_raising_a_weight_only_moves_units_towards_it(split):
    units = [f"user-{number}" for number in range(30)]
    before = assigned(split, units)

    move_to(split, 4000)

    after = assigned(split, units)
    assert {(before[unit], after[unit]) for unit in units} <= {(1, 1), (1, 2), (2, 2)}
    assert before != after
