"""The circuit breaker: it ends the waits for a database that hangs, and refuses new ones."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from app.db.circuit_breaker import CircuitBreaker, DatabaseHangsError
from app.db.session import engine_for, held_alone, sessions_on
from tests.support.observing import eventually

LOCK = 20_261_130
PATIENCE_S = 30
ONE = select(1)
BLOCKED = text(
    "SELECT count(*) FROM pg_locks "
    "WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
)


@pytest.fixture
def breaker():
    return CircuitBreaker()


@pytest.fixture
def own(stores, breaker):
    """Sessions on at most two connections, which a breaker guards."""
    engine = engine_for(stores.postgres.service_url, pool_size=1)
    breaker.guard(engine)
    yield sessions_on(engine)
    engine.dispose()


@pytest.fixture
def waiting(own, engine):
    """Return a context with a statement that waits for another one on the same database."""

    @contextmanager
    def waiting(statements=1):
        with engine.connect() as holder, ThreadPoolExecutor(statements) as threads:
            holder.scalar(select(func.pg_advisory_lock(LOCK)))
            try:
                running = [threads.submit(wait_for_lock, own) for _ in range(statements)]
                eventually(lambda: holder.scalar(BLOCKED) == min(statements, 2))
                yield running
            finally:
                holder.scalar(select(func.pg_advisory_unlock(LOCK)))

    return waiting


def wait_for_lock(own):
    with own() as session:
        session.scalar(select(func.pg_advisory_lock(LOCK)))


def answer(own):
    with own() as session:
        return session.scalar(ONE)


def test_waiting_statements_fail_when_the_breaker_opens(waiting, breaker):
    with waiting() as (statement,):
        breaker.open()
        error = statement.exception(timeout=PATIENCE_S)
    assert isinstance(error, OperationalError)
    assert error.connection_invalidated


def test_requests_that_wait_for_the_pool_fail_too(waiting, breaker):
    with waiting(statements=6) as statements:
        breaker.open()
        errors = {type(each.exception(timeout=PATIENCE_S)) for each in statements}
    assert errors == {OperationalError, DatabaseHangsError}


def test_an_open_breaker_refuses_idle_and_new_connections(own, breaker):
    assert answer(own) == 1  # leaves an idle connection
    breaker.open()
    for _ in range(2):
        with pytest.raises(DatabaseHangsError):
            answer(own)


def test_a_closed_breaker_allows_connections_again(own, breaker):
    assert answer(own) == 1
    breaker.open()
    breaker.close()
    assert [answer(own), answer(own)] == [1, 1]


def test_a_connection_made_while_the_breaker_opens_is_broken_off(own, breaker, monkeypatch):
    duplicate = os.dup

    def dup(number):
        breaker.open()
        return duplicate(number)

    monkeypatch.setattr(os, "dup", dup)
    with pytest.raises((OperationalError, DatabaseHangsError)):
        answer(own)
    monkeypatch.undo()
    breaker.close()
    assert answer(own) == 1


def test_a_connection_outside_the_pool_is_kept(own, breaker):
    """The lock of a collection must not end while it deletes."""
    with held_alone(own, LOCK) as is_held:
        breaker.open()
        breaker.close()
        with held_alone(own, LOCK) as is_held_twice:
            assert (is_held, is_held_twice) == (True, False)


def test_closed_connections_leave_no_descriptor(own, breaker):
    def count():
        return len(list(Path("/proc/self/fd").iterdir()))

    answer(own)
    own.kw["bind"].dispose()
    before = count()
    for _ in range(5):
        with held_alone(own, LOCK):
            answer(own)
        own.kw["bind"].dispose()
    assert count() == before
