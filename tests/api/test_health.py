"""Whether the server says truly what it can and cannot reach."""

import pytest
from sqlalchemy import create_engine

from app.db.session import engine_for, sessions_on
from tests.support.blobs import MemoryBlobs

CLOSED = "postgresql+psycopg://nobody@127.0.0.1:1/nowhere"


def away():
    blobs = MemoryBlobs()
    blobs.is_away = True
    return blobs


@pytest.fixture
def sessions_on_nothing():
    """Sessions on a port where no database listens."""
    engine = engine_for(CLOSED)
    yield sessions_on(engine)
    engine.dispose()


@pytest.fixture
def sessions_without_tables(an_empty_database):
    engine = create_engine(an_empty_database)
    yield sessions_on(engine)
    engine.dispose()


@pytest.fixture
def sessions_all_in_use(stores):
    """Sessions of a pool whose only connection somebody holds."""
    url = stores.postgres.service_url
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    with engine.connect():
        yield sessions_on(engine)
    engine.dispose()


def readiness(world):
    response = world.client.get("/readyz")
    return response.status_code, response.json()


def test_a_process_that_lives_says_so_without_a_token(client):
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_a_registry_with_all_its_parts_is_ready(world):
    assert readiness(world) == (200, {"database": "ok", "storage": "ok", "migrations": "ok"})


def test_a_store_that_is_away_is_named(world_on):
    assert readiness(world_on(blobs=away())) == (
        503,
        {"database": "ok", "storage": "failing", "migrations": "ok"},
    )


def test_a_database_that_is_away_is_named(world_on, sessions_on_nothing):
    assert readiness(world_on(sessions=sessions_on_nothing)) == (
        503,
        {"database": "failing", "storage": "ok", "migrations": "failing"},
    )


def test_a_database_at_another_migration_is_named(world_on):
    assert readiness(world_on(expected_revision="9999")) == (
        503,
        {"database": "ok", "storage": "ok", "migrations": "failing"},
    )


def test_a_database_before_the_first_migration_is_named(world_on, sessions_without_tables):
    assert readiness(world_on(sessions=sessions_without_tables)) == (
        503,
        {"database": "ok", "storage": "ok", "migrations": "failing"},
    )


def test_a_process_lives_whatever_it_cannot_reach(world_on, sessions_on_nothing):
    world = world_on(sessions=sessions_on_nothing, blobs=away())
    assert world.client.get("/healthz").status_code == 200


def test_what_is_counted_is_shown_as_prometheus_reads_it(world):
    response = world.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_a_request_without_a_database_is_to_be_tried_again(world_on, sessions_on_nothing):
    response = world_on(sessions=sessions_on_nothing).call("GET", "/v1/prefixes", by="reader")
    assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert "127.0.0.1" not in response.text


def test_a_request_that_gets_no_connection_in_time_is_to_be_tried_again(
    world_on, sessions_all_in_use
):
    response = world_on(sessions=sessions_all_in_use).call("GET", "/v1/prefixes", by="reader")
    assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")


def test_a_statement_of_ours_that_is_wrong_is_a_failure(world_on, sessions_without_tables):
    response = world_on(sessions=sessions_without_tables).call("GET", "/v1/prefixes", by="reader")
    assert (response.status_code, response.json()["type"]) == (500, "/problems/internal-error")
    assert "SELECT" not in response.text
