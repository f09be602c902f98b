"""The connection that receives notifications: it returns them as soon as they arrive."""

from uuid import uuid4

import pytest
from sqlalchemy import func, select

from app.db.models import WorkerLease
from app.db.worker_leases import CHANGES, Notification, notification_connection

CONFIRMED = 1 << 61


@pytest.fixture
def notifications(stores, tokens):
    with notification_connection(stores.postgres.service_url, uuid4()) as notifications:
        yield notifications
        notifications.leave()


def notify(engine, payload):
    with engine.begin() as connection:
        connection.execute(select(func.pg_notify(CHANGES, payload)))


def test_a_notification_ends_the_wait_for_it(notifications, engine):
    about = str(uuid4())
    notify(engine, f"prefix {about}")
    assert Notification("prefix", about) in notifications.listen(20)


def test_without_a_notification_the_wait_ends_with_its_time(notifications):
    assert notifications.listen(0.01) == []


def test_a_wait_can_be_ended_without_a_notification(notifications):
    notifications.wake()
    assert notifications.listen(20) == []


def test_a_process_confirms_for_itself_alone(notifications, stores, sessions):
    with notification_connection(stores.postgres.service_url, uuid4()) as other:
        with sessions() as session:
            before = dict(session.execute(select(WorkerLease.id, WorkerLease.confirmed)).all())
        notifications.confirm(CONFIRMED)
        with sessions() as session:
            after = dict(session.execute(select(WorkerLease.id, WorkerLease.confirmed)).all())
        other.leave()
    changed = [worker for worker, confirmed in after.items() if confirmed == CONFIRMED]
    assert len(changed) == 1
    assert {w: c for w, c in after.items() if w not in changed} == {
        w: c for w, c in before.items() if w not in changed
    }
