"""Near copies of a version: over HTTP, on its page, and in the query that finds them."""

import json
import math
from itertools import product
from random import Random
from uuid import uuid4

import pytest
from safetensors.torch import load, save
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.db.models import BaseModelRow
from app.db.near_copies import content_row, near_copies_of
from app.domain.artifacts.near_copies import ContentSketch, are_near, relative_distance
from app.services.artifacts import near_copies
from tests.support.adapters import a_config
from tests.support.builders import World


@pytest.fixture
def elsewhere(world):
    """Another namespace on the same server."""
    return World(world.client, world.tokens, shares=True)


def scaled(weights, factor):
    return save({name: tensor * factor for name, tensor in load(weights).items()})


def rounded(weights):
    return save({name: tensor.bfloat16() for name, tensor in load(weights).items()})


def pushed(world, weights, **parts):
    if world.base is None:
        world.a_base()
        world.a_prefix()
    response = world.push(weights=weights, **parts)
    assert response.status_code == 201, response.text
    return response.json()


def near(world, version, rest="", *, by="publisher", **query):
    path = f"/v1/prefixes/{version['prefix']}/versions/{version['number']}/near-copies{rest}"
    return world.call("GET", path, by=by, params=query)


def counted(world, version, *, by="publisher"):
    """Return how many near contents a caller sees, and how many it does not see."""
    found = near(world, version, "/totals", by=by).json()
    return found["visible"], found["hidden"]


def names(page):
    return [(each["prefix"], each["number"]) for each in page["items"]]


def named(*versions):
    return [(version["prefix"], version["number"]) for version in versions]


# Over HTTP


def test_versions_that_differ_little_are_near_copies_of_each_other(world):
    first = world.a_version()
    second = pushed(world, scaled(world.weights(), 1.004))
    third = pushed(world, rounded(world.weights()))

    found = near(world, first).json()

    assert names(found) == named(third, second)
    assert counted(world, first) == (2, 0)
    assert found["items"][1] == {
        "prefix": second["prefix"],
        "number": second["number"],
        "content": second["content"],
        "distance": pytest.approx(0.004 / 1.004, rel=1e-4),
        "revoked": False,
    }
    assert 0 < found["items"][0]["distance"] < 0.004
    assert names(near(world, second).json()) == named(third, first)


def test_other_numbers_and_equal_numbers_are_no_near_copies(world):
    first = world.a_version()
    pushed(world, world.weights(seed=1))
    pushed(world, scaled(world.weights(), 1.02))
    pushed(world, world.weights(), config=json.dumps(json.loads(a_config()), indent=4))

    assert near(world, first).json() == {"items": [], "next": None}
    assert counted(world, first) == (0, 0)


def test_a_near_copy_shows_that_it_was_revoked(world):
    first = world.a_version()
    second = pushed(world, scaled(world.weights(), 1.001))
    world.revoke(second)

    assert [each["revoked"] for each in near(world, first).json()["items"]] == [True]


def test_near_copies_for_another_base_model_are_not_listed(world, elsewhere):
    first = world.a_version()
    elsewhere.a_base(own=True)
    elsewhere.a_prefix()
    pushed(elsewhere, scaled(world.weights(), 1.001))

    assert near(world, first).json() == {"items": [], "next": None}
    assert counted(world, first) == (0, 0)


def test_contents_in_namespaces_that_the_caller_cannot_see_are_counted_only(world, elsewhere):
    first = world.a_version()
    second = pushed(elsewhere, scaled(world.weights(), 1.001))
    pushed(
        elsewhere,
        scaled(world.weights(), 1.001),
        config=json.dumps(json.loads(a_config()), indent=4),
    )

    outside = world.a_stranger("publisher")
    _, insider = world.a_principal(None, ("publisher", world.namespace))
    assert near(world, first, by=outside).status_code == 404
    assert near(world, first, "/totals", by=outside).status_code == 404
    found = near(world, first, by=insider).json()
    assert found == {"items": [], "next": None}
    assert counted(world, first, by=insider) == (0, 1)
    assert names(near(world, first).json())[1:] == named(second)
    assert counted(world, first) == (1, 0)


def test_near_copies_are_paged(world):
    first = world.a_version()
    others = [pushed(world, scaled(world.weights(), 1 + step / 1000)) for step in (1, 2, 3)]

    one = near(world, first, limit=2).json()
    two = near(world, first, limit=2, cursor=one["next"]).json()

    assert names(one) + names(two) == named(*reversed(others))
    assert two["next"] is None


def test_only_the_nearest_contents_are_listed(world, monkeypatch):
    first = world.a_version()
    pushed(world, scaled(world.weights(), 1.004))
    nearest = pushed(world, scaled(world.weights(), 1.001))
    monkeypatch.setattr(near_copies, "LISTED", 1)

    assert names(near(world, first).json()) == named(nearest)


def test_readers_see_near_copies_that_a_channel_serves(world):
    live = world.a_live_version()
    second = pushed(world, scaled(world.weights(), 1.001))

    assert near(world, live, by="reader").json()["items"] == []
    assert counted(world, live, by="reader") == (0, 1)
    assert near(world, second, by="reader").status_code == 404
    assert names(near(world, second).json()) == named(live)


# The query


@pytest.fixture
def session(engine):
    """A session whose changes are rolled back."""
    with engine.connect() as connection, connection.begin() as transaction:
        with Session(connection) as session:
            yield session
        transaction.rollback()


def direction(random):
    numbers = [random.gauss(0, 1) for _ in range(64)]
    return [number / math.hypot(*numbers) for number in numbers]


def moved(numbers, random, distance):
    step = direction(random)
    return [number + distance * part for number, part in zip(numbers, step, strict=True)]


def test_the_query_finds_exactly_the_sketches_that_are_near(session):
    random = Random(1)
    base = session.scalars(select(BaseModelRow).limit(1)).one()
    center = direction(random)
    sketches = [ContentSketch(20, 50.0, center)]
    distances = (0, 0.001, 0.01, 0.019, 0.021, 0.03, 0.2)
    lengths = (50.0, 50.4, 50.51, 49.6, 49.49)
    sketches += [
        ContentSketch(tokens, length, moved(center, random, distance))
        for distance, length, tokens in product(distances, lengths, (20, 21))
    ]
    digests = {f"sha256:{uuid4().hex * 2}": each for each in sketches}
    rows = [content_row(digest, base, each) for digest, each in digests.items()]
    session.add_all(rows)
    session.flush()
    session.expire_all()

    found = near_copies_of(session, rows[0], 0.01)

    expected = {
        digest: relative_distance(sketches[0], each)
        for digest, each in digests.items()
        if are_near(sketches[0], each, 0.01) and digest != rows[0].digest
    }
    assert len(expected) == 10
    assert {copy.content: copy.distance for copy in found} == pytest.approx(expected, abs=1e-6)
    assert [copy.distance for copy in found] == sorted(copy.distance for copy in found)


def test_the_query_reads_a_small_part_of_an_index(session):
    random = Random(2)
    base = session.scalars(select(BaseModelRow).limit(1)).one()
    rows = [
        content_row(
            f"sha256:{uuid4().hex * 2}", base, ContentSketch(99, 50 + random.random() / 2, numbers)
        )
        for numbers in (direction(random) for _ in range(3_000))
    ]
    session.add_all(rows)
    session.flush()
    widest = 0.0202
    plan = session.execute(
        text(
            "EXPLAIN (ANALYZE, FORMAT JSON) SELECT digest FROM content WHERE base_model_id = :base "
            "AND virtual_tokens = 99 AND norm BETWEEN 40 AND 60 "
            "AND sketch_1 BETWEEN :a - :w AND :a + :w AND sketch_2 BETWEEN :b - :w AND :b + :w "
            "AND sketch_3 BETWEEN :c - :w AND :c + :w"
        ),
        {
            "base": base.id,
            "w": widest,
            "a": rows[0].sketch_1,
            "b": rows[0].sketch_2,
            "c": rows[0].sketch_3,
        },
    ).scalar_one()
    assert plan[0]["Plan"]["Index Name"] == "ix_content_near"
    assert plan[0]["Plan"]["Actual Rows"] < 60
    assert near_copies_of(session, rows[0], 0.01) == []
