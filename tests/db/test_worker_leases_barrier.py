"""Waiting after a commit: until every process has confirmed, and no longer than the leases last."""

import time
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import delete, func, select

from app.db import worker_leases
from app.db.models import WorkerLease
from app.db.worker_leases import (
    all_confirmed,
    notification_connection,
    raise_barrier,
    wait_until_invalidated,
)
from app.domain.delivery.cache_lease import ABANDONED_AFTER_S

CONFIRMED_ALL = 1 << 62
LATE = "did not confirm"
SILENT_S = ABANDONED_AFTER_S + 1


@pytest.fixture
def a_process(sessions):
    """Let a process hold a lease with its last confirmation, until the test ends."""
    ids = []

    def a_process(confirmed, *, silent_s=0.0):
        lease = WorkerLease(uuid4(), confirmed, None)
        with sessions.begin() as session:
            lease.proved_at = session.scalar(select(func.now())) - timedelta(seconds=silent_s)
            session.add(lease)
        ids.append(lease.id)
        return lease.id

    yield a_process
    with sessions.begin() as session:
        session.execute(delete(WorkerLease).where(WorkerLease.id.in_(ids)))


@pytest.fixture
def short_wait(monkeypatch):
    monkeypatch.setattr(worker_leases, "LONGEST_WAIT_S", 0.2)


def test_a_change_that_all_confirm_is_not_logged(engine, a_process, short_wait, caplog):
    a_process(CONFIRMED_ALL)
    wait_until_invalidated(engine)
    assert caplog.text == ""


def test_a_change_waits_out_a_process_that_does_not_confirm(engine, a_process, short_wait, caplog):
    a_process(CONFIRMED_ALL)
    a_process(0)
    begun = time.monotonic()
    wait_until_invalidated(engine)
    assert time.monotonic() - begun >= 0.2
    assert LATE in caplog.text


@pytest.mark.parametrize(
    ("offset", "met"), [(-1, False), (0, True), (1, True)], ids=["before", "exactly", "after"]
)
def test_a_barrier_is_met_from_its_own_number_on(engine, a_process, offset, met):
    a_process(CONFIRMED_ALL)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        barrier = raise_barrier(connection)
        a_process(barrier + offset)
        assert all_confirmed(connection, barrier) is met


def test_no_change_waits_for_a_process_that_gave_no_proof_for_long(engine, a_process):
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        a_process(0, silent_s=SILENT_S)
        assert raise_barrier(connection) is None
        a_process(CONFIRMED_ALL)
        barrier = raise_barrier(connection)
        assert all_confirmed(connection, barrier)
        a_process(0, silent_s=ABANDONED_AFTER_S / 2)
        assert not all_confirmed(connection, barrier)


def test_a_process_that_joins_deletes_the_leases_of_those_that_are_gone(
    sessions, stores, a_process
):
    gone, silent = a_process(0, silent_s=SILENT_S), a_process(0, silent_s=ABANDONED_AFTER_S / 2)
    joined = uuid4()
    with notification_connection(stores.postgres.service_url, joined) as notifications:
        with sessions() as session:
            left = set(session.scalars(select(WorkerLease.id)))
        notifications.leave()
    assert left & {gone, silent, joined} == {silent, joined}
