"""Recovery: the stores of a serving registry become unavailable and come back."""

import re

import pytest
from fastapi.testclient import TestClient

from app.local.mode import Stores, prepare
from app.local.postgres import running_postgres
from app.local.s3 import running_s3
from app.main import create_app
from app.settings import Settings
from tests.support.builders import World
from tests.support.observing import eventually, free_port
from tests.support.servers import probe_bucket


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


def test_the_registry_recovers_from_an_outage_of_the_database(folder, s3_server, serving):
    port = free_port()
    with running_postgres(folder, port=port) as postgres:
        world = serving(Stores(postgres, s3_server))
        version = world.a_live_version()

    assert refused(world.resolve())
    assert refused(world.push(seed=2))
    assert world.client.get("/healthz").status_code == 200
    assert world.client.get("/readyz").json()["database"] == "failing"

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
    assert world.client.get("/readyz").json()["storage"] == "failing"
    assert world.resolve().status_code == 200  # resolving needs no bytes
    assert world.actions()[-1] == "promotion.execute"  # and the failed push left nothing

    with running_s3(folder, probe=probe_bucket, port=port):
        assert world.call("GET", path, by="reader").status_code == 200
        assert world.push(seed=2).json()["number"] == 2
