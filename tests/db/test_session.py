"""Sessions and their pool: reading, writing, and replacing lost connections."""

import select
from datetime import UTC, datetime

import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import event, text

from app.db.models import AuditChain
from app.db.session import engine_for, sessions_on

PID = text("SELECT pg_backend_pid()")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


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
    """Collect the pings of connections."""
    sent = []
    ping = narrow.dialect.do_ping
    monkeypatch.setattr(narrow.dialect, "do_ping", lambda each: sent.append(each) or ping(each))
    return sent


def status(session):
    return session.connection().connection.driver_connection.info.transaction_status


def pid(own):
    with own() as session:
        return session.scalar(PID)


def test_only_begin_opens_a_transaction(own):
    with own() as session:
        session.execute(text("SELECT 1"))
        assert status(session) is TransactionStatus.IDLE
    with own.begin() as session:
        session.execute(text("SELECT 1"))
        assert status(session) is TransactionStatus.INTRANS
    with own() as session:
        session.execute(text("SELECT 1"))
        assert status(session) is TransactionStatus.IDLE


def test_a_plain_session_cannot_write(own):
    with own() as session:
        session.add(AuditChain("prefix:acme/unbegun", 0, "x", LONG_AGO))
        with pytest.raises(TypeError, match=r"transactions\.begin"):
            session.flush()
        session.expunge_all()
        assert session.get(AuditChain, "prefix:acme/unbegun") is None


def test_a_healthy_connection_is_reused_without_a_ping(own, pings):
    assert pid(own) == pid(own)
    assert pings == []


def test_a_connection_closed_by_the_server_is_replaced(own, sessions, pings):
    ended = pid(own)
    with sessions() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": ended})

    assert pid(own) != ended
    assert len(pings) == 1
    assert pid(own) == pid(own)


def test_a_connection_with_a_pending_notification_is_kept(own, narrow, sessions, pings):
    with narrow.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("LISTEN changes"))
        socket = connection.connection.driver_connection.fileno()
    listening = pid(own)
    with sessions.begin() as other:
        other.execute(text("NOTIFY changes"))
    # The listening backend delivers it asynchronously, some time after the commit.
    assert select.select([socket], [], [], 30)[0]

    assert [pid(own), pid(own)] == [listening, listening]
    assert len(pings) == 1


def test_listeners_of_the_engine_receive_reading_statements(own, narrow):
    received = []
    event.listen(narrow, "before_cursor_execute", lambda *each: received.append(each[2]))
    pid(own)
    assert received == [PID.text]
