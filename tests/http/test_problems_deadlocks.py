"""Requests that lose a deadlock or their database connection."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tests.support.observing import eventually, keeps_another_waiting

LOCK_CHAIN = text("SELECT 1 FROM audit_chain WHERE subject = :subject FOR UPDATE")
LOCK_PREFIX = text("SELECT 1 FROM prefix WHERE namespace = :namespace FOR UPDATE")
END_WAITING_CONNECTIONS = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
)


def test_a_push_that_loses_a_deadlock_changes_nothing_and_can_be_retried(world, engine):
    """Writes lock the chain, then the prefix; here another transaction locks in reverse order."""
    first = world.a_version()
    world.client.headers["Idempotency-Key"] = str(uuid.uuid4())
    with engine.connect() as other, ThreadPoolExecutor(1) as thread:
        other.execute(LOCK_PREFIX, {"namespace": world.namespace})
        push = thread.submit(world.push, seed=1)
        eventually(lambda: keeps_another_waiting(other), within_s=20)
        other.execute(text("SET LOCAL lock_timeout = '300ms'"))
        # PostgreSQL looks for a deadlock after a second of one wait. The waits here are shorter, so
        # that it aborts the push.
        while not push.done():
            with suppress(OperationalError), other.begin_nested():
                other.execute(LOCK_CHAIN, {"subject": f"prefix:{world.prefix}"})
        lost = push.result()
    assert (lost.status_code, lost.headers["Retry-After"]) == (503, "2")
    assert "nothing was changed" in lost.json()["detail"]

    again = world.push(seed=1)
    assert (again.status_code, again.json()["number"]) == (201, first["number"] + 1)
    assert world.actions() == ["prefix.create", "version.push", "version.push"]
    assert world.verification()["valid"]


def test_a_keyed_push_that_loses_its_connection_can_be_retried(world, engine):
    first = world.a_version()
    world.client.headers["Idempotency-Key"] = str(uuid.uuid4())
    with engine.connect() as other, ThreadPoolExecutor(1) as thread:
        other.execute(LOCK_PREFIX, {"namespace": world.namespace})
        push = thread.submit(world.push, seed=1)
        eventually(lambda: keeps_another_waiting(other), within_s=20)
        other.execute(END_WAITING_CONNECTIONS)
        lost = push.result()
    assert (lost.status_code, lost.headers.get("Retry-After")) == (503, "2"), lost.text
    again = world.push(seed=1)
    assert (again.status_code, again.json()["number"]) == (201, first["number"] + 1)
