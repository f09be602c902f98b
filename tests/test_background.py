"""The background tasks of a server."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.background import BackgroundTasks, StoreTasks, running_background_tasks
from app.db.models import Prefix, Pull, Version
from app.main import app_of
from app.services.artifacts.pulls import PullLog
from tests.support.builders import World


@pytest.fixture
def served_world(parts, tokens):
    """A world on a server with background tasks."""
    app = app_of(replace(parts, pulls=PullLog()), lifespan=running_background_tasks)
    with TestClient(app) as client:
        yield World(client, tokens)


def within(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def test_a_due_promotion_executes_without_a_request(served_world):
    served_world.a_version()
    served_world.a_channel(approvals={"required": 1, "wait": "PT1S"})
    promotion = served_world.a_promotion(seed=1)

    reviewed = served_world.review(promotion, by="approver-1").json()

    assert reviewed["state"] in {"pending", "executed"}
    within(15, lambda: served_world.promotion(promotion)["state"] == "executed")


def test_pulls_are_stored_when_the_server_stops(parts, tokens, sessions):
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


def test_the_background_thread_outlives_an_unexpected_failure(parts, monkeypatch, caplog):
    calls = []

    def failing(_):
        calls.append(1)
        raise ZeroDivisionError

    monkeypatch.setattr("app.background.process_due", failing)
    monkeypatch.setattr("app.background._INTERVAL_S", 0.01)
    tasks = BackgroundTasks(parts)
    tasks.start()
    within(15, lambda: len(calls) > 1)
    tasks.stop()
    assert "ZeroDivisionError" in caplog.text


def test_the_thread_of_the_store_outlives_an_unexpected_failure(parts, monkeypatch, caplog):
    calls = []

    def failing(*_, **__):
        calls.append(1)
        raise ZeroDivisionError

    monkeypatch.setattr("app.background.collect_if_due", failing)
    monkeypatch.setattr("app.background._COLLECT_ROUND_S", 0.01)
    tasks = StoreTasks(replace(parts, collect_interval=timedelta(days=1)))
    tasks.start()
    within(15, lambda: len(calls) > 1)
    tasks.stop()
    assert "ZeroDivisionError" in caplog.text
