"""What a request is answered that waits for somebody who waits for it."""

import uuid
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import text

from tests.support.observing import eventually

LOCK_CHAIN = text("SELECT 1 FROM audit_chain WHERE subject = :subject FOR UPDATE")
LOCK_PREFIX = text("SELECT 1 FROM prefix WHERE namespace = :namespace FOR UPDATE")
WAITING_FOR_US = text(
    "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
)
END_WHO_WAITS_FOR_US = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
)


def test_a_push_that_loses_a_deadlock_is_told_to_come_again_and_left_nothing(world, engine):
    """Every write locks the prefix, then its chain; this one meets somebody who does otherwise."""
    first = world.a_version()
    world.client.headers["Idempotency-Key"] = str(uuid.uuid4())
    with engine.connect() as other, ThreadPoolExecutor(1) as thread:
        other.execute(LOCK_CHAIN, {"subject": f"prefix:{world.prefix}"})
        push = thread.submit(world.push, seed=1)
        eventually(lambda: other.scalar(WAITING_FOR_US), within_s=20)
        other.execute(LOCK_PREFIX, {"namespace": world.namespace})  # it has waited for longer
        lost = push.result()
    assert (lost.status_code, lost.headers["Retry-After"]) == (503, "2")
    assert "nothing was changed" in lost.json()["detail"]

    again = world.push(seed=1)
    assert (again.status_code, again.json()["number"]) == (201, first["number"] + 1)
    assert world.actions() == ["prefix.create", "version.push", "version.push"]
    assert world.verification()["valid"]


def test_a_keyed_push_whose_connection_dies_is_told_so_and_can_be_sent_again(world, engine):
    first = world.a_version()
    world.client.headers["Idempotency-Key"] = str(uuid.uuid4())
    with engine.connect() as other, ThreadPoolExecutor(1) as thread:
        other.execute(LOCK_PREFIX, {"namespace": world.namespace})
        push = thread.submit(world.push, seed=1)
        eventually(lambda: other.scalar(WAITING_FOR_US), within_s=20)
        other.execute(END_WHO_WAITS_FOR_US)
        lost = push.result()
    assert (lost.status_code, lost.headers.get("Retry-After")) == (503, "2"), lost.text
    again = world.push(seed=1)
    assert (again.status_code, again.json()["number"]) == (201, first["number"] + 1)
