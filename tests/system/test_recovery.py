"""Recovery: the stores of a serving registry become unavailable and come back."""

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient

from app.local.mode import Stores, prepare
from app.local.postgres import running_postgres
from app.local.s3 import running_s3
from app.main import create_app
from app.settings import Settings
from tests.support.builders import World
from tests.support.observing import eventually, free_port, living
from tests.support.servers import probe_bucket

REQUESTS = 60
# One interval between probes and one time-out, or one attempt to connect, on a busy machine.
NOTICED_S = 15
PROMPT_S = 2


@pytest.fixture
def folder(server_folder, request):
    return server_folder / re.sub(r"\W", "-", request.node.name)


@pytest.fixture
def serving(monkeypatch):
    """Return a function that serves a registry on given stores and returns a world in it."""
    clients = []

    def serving(stores):
        tokens = prepare(stores, {})
        for name, value in stores.environment.items():
            monkeypatch.setenv(name, value)
        client = TestClient(create_app(Settings()), raise_server_exceptions=False)
        clients.append(client)
        return World(client.__enter__(), tokens)

    yield serving
    for client in clients:
        client.app.state.parts.sessions.kw["bind"].dispose()
        client.__exit__(None, None, None)


def refused(response):
    assert response.status_code == 503, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["Retry-After"] == "2"
    return response.json()["type"] == "/problems/unavailable"


def state_of(world, part):
    return world.client.get("/readyz").json()[part]


def test_the_registry_recovers_from_an_outage_of_the_database(folder, s3_server, serving):
    port = free_port()
    with running_postgres(folder, port=port) as postgres:
        world = serving(Stores(postgres, s3_server))
        version = world.a_live_version()

    assert refused(world.resolve())
    assert refused(world.push(seed=2))
    assert world.client.get("/healthz").status_code == 200
    eventually(lambda: state_of(world, "database") == "failing", within_s=NOTICED_S)

    with running_postgres(folder, port=port):
        eventually(lambda: world.resolve().status_code == 200)
        assert world.resolve().json()["digest"] == version["digest"]
        assert world.push(seed=2).json()["number"] == 2


def test_the_registry_recovers_from_an_outage_of_the_store(
    folder, postgres_server, tokens, serving
):
    port = free_port()
    with running_s3(folder, probe=probe_bucket, port=port) as s3:
        world = serving(Stores(postgres_server, s3))
        world.a_live_version()

    assert refused(world.push(seed=2))
    path = f"{world.path}/versions/1/files/adapter_config.json"
    assert refused(world.call("GET", path, by="reader"))
    eventually(lambda: state_of(world, "storage") == "failing", within_s=NOTICED_S)
    assert world.resolve().status_code == 200  # resolving needs no bytes
    assert world.actions()[-1] == "promotion.execute"  # and the failed push left nothing

    with running_s3(folder, probe=probe_bucket, port=port):
        assert world.call("GET", path, by="reader").status_code == 200
        assert world.push(seed=2).json()["number"] == 2


def test_requests_on_a_frozen_database_are_answered_within_seconds(folder, s3_server, serving):
    """More requests than the process has threads; then, each further one is refused at once."""
    with running_postgres(folder) as postgres:
        world = serving(Stores(postgres, s3_server))
        world.a_live_version()
        with ThreadPoolExecutor(REQUESTS) as clients, frozen(folder):
            waiting = [clients.submit(timed, world, "/v1/prefixes") for _ in range(REQUESTS)]
            assert timed(world, "/healthz") == (200, pytest.approx(0, abs=PROMPT_S))
            found = [each.result(timeout=NOTICED_S) for each in waiting]
            assert {status for status, _ in found} == {503}
            assert max(seconds for _, seconds in found) < NOTICED_S
            assert timed(world, "/v1/prefixes") == (503, pytest.approx(0, abs=PROMPT_S))
            assert refused(world.push(seed=2))
            state = world.client.get("/readyz").json()
            assert (state["database"], state["storage"]) == ("failing", "ok")
        eventually(lambda: world.client.get("/readyz").status_code == 200, within_s=NOTICED_S)
        assert timed(world, "/v1/prefixes")[0] == 200
        assert world.push(seed=2).json()["number"] == 2


@contextmanager
def frozen(folder):
    """Stop all processes of a server; they continue where they were."""
    pids = living(folder).keys() - {os.getpid()}
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def timed(world, path):
    """Return the status of a response, and the seconds until it was complete."""
    begun = time.monotonic()
    status = world.call("GET", path, by="reader").status_code
    return status, time.monotonic() - begun
