"""What a server does by itself while it serves."""

import time
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.background import running_background_tasks
from app.db.models import Prefix, Pull, Version
from app.main import app_of
from app.services.artifacts.pulls import PullLog
from tests.support.builders import World


@pytest.fixture
def diligent(parts, tokens):
    """A world on a server that does its chores."""
    app = app_of(replace(parts, pulls=PullLog()), lifespan=running_background_tasks)
    with TestClient(app) as client:
        yield World(client, tokens)


def within(seconds, true):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.1)


def test_the_end_of_a_wait_is_met_without_anybody_asking(diligent):
    diligent.a_version()
    diligent.a_channel(approvals={"required": 1, "wait": "PT1S"})
    promotion = diligent.a_promotion(seed=1)

    reviewed = diligent.review(promotion, by="approver-1").json()

    assert reviewed["state"] in {"pending", "executed"}
    within(15, lambda: diligent.promotion(promotion)["state"] == "executed")


def test_pulls_are_written_down_when_the_server_stops(parts, tokens, sessions):
    log = PullLog()
    app = app_of(replace(parts, pulls=log), lifespan=running_background_tasks)
    with TestClient(app) as client:
        world = World(client, tokens)
        world.a_live_version()
        world.resolve()
        world.resolve()

    assert log.counted() == {}
    with sessions() as session:
        pulls = select(Pull.times).join(Version, Version.id == Pull.version_id).join(Version.prefix)
        assert session.scalars(pulls.where(Prefix.namespace == world.namespace)).all() == [2]
