"""Liveness, readiness and metrics: the server reports which of its parts it can reach."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import create_engine

from app.db.clock import Clock, elapsed
from app.db.session import database_of, engine_for, sessions_on
from app.http.shutdown import Shutdown
from app.services.readiness import DatabaseProbe, Readiness, probe_store
from app.storage.s3 import S3Blobs
from tests.support import store_proxy as faults
from tests.support.blobs import MemoryBlobs

CLOSED = "postgresql+psycopg://nobody@127.0.0.1:1/nowhere"


def unavailable_blobs():
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
    """Sessions of a pool whose only connection is in use."""
    url = stores.postgres.service_url
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    with engine.connect():
        yield sessions_on(engine)
    engine.dispose()


def probe(world):
    """Probe the database and the store of a world, as the background tasks of a server do."""
    parts = world.client.app.state.parts
    url = database_of(parts.sessions)
    with closing_probe(url, parts.readiness.database, parts.breaker, parts.clock) as database:
        database.run()
    probe_store(parts.blobs, parts.readiness.store)


@contextmanager
def closing_probe(*arguments, **options):
    probe = DatabaseProbe(*arguments, **options)
    yield probe
    probe.end()


def readiness(world):
    """Return the status and the parts that are not in order, as found by new probes."""
    probe(world)
    return known_readiness(world)


def known_readiness(world):
    response = world.client.get("/readyz")
    parts = {name: state for name, state in response.json().items() if not name.endswith("_ms")}
    assert parts.keys() == {"server", "database", "storage", "migrations", "clock"}
    return response.status_code, {name for name, state in parts.items() if state != "ok"}


def test_liveness_needs_no_token(client):
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_a_server_that_is_stopping_is_not_ready(world_on):
    assert readiness(world_on(shutdown=Shutdown(begun=True))) == (503, {"server"})


def test_a_registry_with_all_its_parts_is_ready(world):
    assert readiness(world) == (200, set())


def test_an_unavailable_store_is_named(world_on):
    assert readiness(world_on(blobs=unavailable_blobs())) == (503, {"storage"})


def test_the_log_and_readiness_name_what_a_store_lacks(
    world_on, store_proxy, proxied_account, caplog
):
    """A push is refused with the same sentence, and everything that needs no store works."""
    store_proxy.set(ignore_condition, "PUT")
    world = world_on(blobs=S3Blobs(proxied_account))
    for _ in range(2):
        probe(world)
        response = world.client.get("/readyz")
        assert (response.status_code, response.json()["storage"]) == (503, "failing")
        assert "If-None-Match" in response.json()["storage_problem"]
    world.a_base()
    world.a_prefix()
    refused = world.push()
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/unavailable")
    assert refused.json()["detail"] == response.json()["storage_problem"]
    assert caplog.text.count("If-None-Match: *") >= 1
    assert store_proxy.seen("PUT", "/blobs/") == []


def ignore_condition(_proxy, request):
    return faults.Response(200) if request.condition else request.forward()


def test_an_unavailable_database_is_named(world_on, sessions_on_nothing):
    world = world_on(sessions=sessions_on_nothing, clock=Clock())
    assert readiness(world) == (503, {"database", "migrations", "clock"})


def test_a_database_at_another_migration_is_named(world_on):
    assert readiness(world_on(expected_revision="9999")) == (503, {"migrations"})


def test_a_database_before_the_first_migration_is_named(world_on, sessions_without_tables):
    world = world_on(sessions=sessions_without_tables, clock=Clock())
    assert readiness(world) == (503, {"migrations", "clock"})


@pytest.mark.parametrize("seconds", [3, -3])
def test_a_clock_that_differs_from_the_database_s_is_reported(world, time, seconds):
    time.ahead = timedelta(seconds=seconds)
    assert readiness(world) == (503, {"clock"})
    found = world.client.get("/readyz").json()["clock_ahead_ms"]
    assert found == pytest.approx(-1000 * seconds, abs=900)


def test_readiness_is_answered_from_memory(world_on, sessions_on_nothing):
    """A request neither asks a dependency nor waits for one."""
    known = Readiness()
    world = world_on(readiness=known)
    assert known_readiness(world) == (503, {"database", "storage", "migrations"})
    assert world.client.get("/readyz").json()["database_age_ms"] is None
    assert readiness(world) == (200, set())
    away = world_on(readiness=known, sessions=sessions_on_nothing, blobs=unavailable_blobs())
    assert known_readiness(away) == (200, set())
    assert 0 <= away.client.get("/readyz").json()["database_age_ms"] < 20_000


def test_an_old_state_counts_as_failing(world_on, monkeypatch):
    world = world_on(readiness=Readiness())
    assert readiness(world) == (200, set())
    later = elapsed() + 21
    monkeypatch.setattr("app.services.readiness.elapsed", lambda: later)
    assert known_readiness(world) == (503, {"database", "storage", "migrations"})
    assert world.client.get("/readyz").json()["storage_age_ms"] >= 20_000


def test_a_clock_may_differ_a_little(world, time):
    time.ahead = timedelta(seconds=1)
    assert readiness(world) == (200, set())


def test_liveness_does_not_depend_on_database_or_store(world_on, sessions_on_nothing):
    world = world_on(sessions=sessions_on_nothing, blobs=unavailable_blobs())
    assert world.client.get("/healthz").status_code == 200


def test_metrics_are_in_the_prometheus_text_format(world):
    response = world.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_a_request_without_a_database_can_be_retried(world_on, sessions_on_nothing):
    response = world_on(sessions=sessions_on_nothing).call("GET", "/v1/prefixes", by="reader")
    assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert "127.0.0.1" not in response.text


def test_a_request_that_gets_no_connection_in_time_can_be_retried(world_on, sessions_all_in_use):
    response = world_on(sessions=sessions_all_in_use).call("GET", "/v1/prefixes", by="reader")
    assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")


def test_a_wrong_statement_is_an_internal_error(world_on, sessions_without_tables):
    response = world_on(sessions=sessions_without_tables).call("GET", "/v1/prefixes", by="reader")
    assert (response.status_code, response.json()["type"]) == (500, "/problems/internal-error")
    assert "SELECT" not in response.text
