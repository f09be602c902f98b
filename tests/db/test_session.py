"""Sessions and the pool under them: what only reads, what writes, and connections that died."""

import select

import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import event, text

from app.db.models import AuditChain
from app.db.session import engine_for, sessions_on

PID = text("SELECT pg_backend_pid()")


@pytest.fixture
def narrow(stores):
    """An engine with one connection."""
    engine = engine_for(stores.postgres.service_url, pool_size=1)
    yield engine
    engine.dispose()


@pytest.fixture
def own(narrow, sessions):
    return sessions_on(narrow)


@pytest.fixture
def pings(narrow, monkeypatch):
    """Collect the questions whether a connection still answers."""
    asked = []
    ping = narrow.dialect.do_ping
    monkeypatch.setattr(narrow.dialect, "do_ping", lambda each: asked.append(each) or ping(each))
    return asked


def status(session):
    return session.connection().connection.driver_connection.info.transaction_status


def pid(own):
    with own() as session:
        return session.scalar(PID)


def test_what_only_reads_leaves_no_transaction_open_and_what_begins_is_one(own):
    with own() as session:
        session.execute(text("SELECT 1"))
        assert status(session) is TransactionStatus.IDLE
    with own.begin() as session:
        session.execute(text("SELECT 1"))
        assert status(session) is TransactionStatus.INTRANS
    with own() as session:
        session.execute(text("SELECT 1"))
        assert status(session) is TransactionStatus.IDLE


def test_what_is_not_begun_writes_nothing(own):
    with own() as session:
        session.add(AuditChain(subject="prefix:acme/unbegun", length=0, head="x"))
        with pytest.raises(TypeError, match=r"sessions\.begin\(\)"):
            session.flush()
        session.expunge_all()
        assert session.get(AuditChain, "prefix:acme/unbegun") is None


def test_a_connection_that_is_well_is_used_again_unasked(own, pings):
    assert pid(own) == pid(own)
    assert pings == []


def test_a_connection_that_the_server_ended_is_replaced(own, sessions, pings):
    ended = pid(own)
    with sessions() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": ended})

    assert pid(own) != ended
    assert len(pings) == 1
    assert pid(own) == pid(own)


def test_a_connection_that_was_told_something_is_kept(own, narrow, sessions, pings):
    with narrow.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("LISTEN told"))
        socket = connection.connection.driver_connection.fileno()
    listening = pid(own)
    with sessions.begin() as other:
        other.execute(text("NOTIFY told"))
    # The listening backend passes it on by itself, some moment after the commit.
    assert select.select([socket], [], [], 30)[0]

    assert [pid(own), pid(own)] == [listening, listening]
    assert len(pings) == 1


def test_what_listens_to_an_engine_hears_what_only_reads(own, narrow):
    heard = []
    event.listen(narrow, "before_cursor_execute", lambda *each: heard.append(each[2]))
    pid(own)
    assert heard == [PID.text]
