"""The probe of the database: it notices within its time-out that no answer comes."""

from threading import Event, Thread

import pytest
from sqlalchemy import create_engine, text

from app.db.circuit_breaker import CircuitBreaker
from app.db.clock import Clock
from app.db.schema import REVISION
from app.services.readiness import DatabaseProbe, DatabaseState, LatestResult, probe_store
from tests.support.blobs import MemoryBlobs
from tests.support.observing import eventually

HANGS = "does not answer"


@pytest.fixture
def breaker():
    return CircuitBreaker()


@pytest.fixture
def latest():
    return LatestResult()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def probe(stores, latest, breaker, clock):
    probe = DatabaseProbe(stores.postgres.service_url, latest, breaker, clock, timeout_s=0.3)
    yield probe
    probe.end()


@pytest.fixture
def hanging(stores):
    """A transaction that lets every probe wait until it ends."""
    engine = create_engine(stores.postgres.owner_url)
    with engine.connect() as connection:
        connection.execute(text("LOCK TABLE alembic_version"))
        yield connection
        connection.rollback()
    engine.dispose()


def test_a_probe_finds_the_schema_and_measures_the_time(probe, latest, clock):
    probe.run()
    assert latest.current == DatabaseState(is_available=True, revision=REVISION)
    assert clock.is_measured


def test_a_probe_without_an_answer_opens_the_breaker(probe, latest, breaker, hanging, caplog):
    for _ in range(2):
        probe.run()
        assert latest.current == DatabaseState(is_available=False)
        assert breaker.is_open
    assert caplog.text.count(HANGS) == 1


def test_the_state_is_known_before_the_probe_has_ended(probe, latest, breaker, monkeypatch):
    """A new connection may take longer than the time-out, because the driver ignores it."""
    released = Event()
    monkeypatch.setattr("app.services.readiness.schema_revision", lambda _: released.wait(30))
    thread = Thread(target=probe.run)
    thread.start()
    eventually(lambda: latest.current == DatabaseState(is_available=False))
    eventually(lambda: breaker.is_open)
    released.set()
    thread.join()


def test_the_next_answer_closes_the_breaker(probe, latest, breaker, hanging):
    probe.run()
    assert breaker.is_open
    hanging.rollback()
    probe.run()
    assert not breaker.is_open
    assert latest.current == DatabaseState(is_available=True, revision=REVISION)


def test_a_database_that_refuses_connections_leaves_the_breaker_closed(latest, breaker, clock):
    """Its connections fail by themselves, and at once."""
    probe = DatabaseProbe("postgresql+psycopg://nobody@127.0.0.1:1/nowhere", latest, breaker, clock)
    probe.run()
    probe.end()
    assert latest.current == DatabaseState(is_available=False)
    assert not breaker.is_open
    assert not clock.is_measured


def test_a_probe_survives_a_schema_without_the_time(probe, latest, clock, monkeypatch):
    monkeypatch.setattr(
        "app.db.clock.time_in", lambda session: session.scalar(text("SELECT no_such_function()"))
    )
    probe.run()
    assert latest.current == DatabaseState(is_available=True, revision=REVISION)
    assert not clock.is_measured


def test_the_log_names_a_problem_of_the_store_once_until_it_is_over(latest, caplog):
    blobs = MemoryBlobs()
    for is_away in (True, True, False, True):
        blobs.is_away = is_away
        probe_store(blobs, latest)
        assert (latest.current.problem is not None) is is_away
    assert caplog.text.count("the object store is not usable") == 2
