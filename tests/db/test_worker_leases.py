"""The connection that receives notifications: it returns them as soon as they arrive."""

from uuid import uuid4

import pytest
from sqlalchemy import func, select

from app.db.models import WorkerLease
from app.db.worker_leases import CHANGES, Notification, notification_connection

CONFIRMED = 1 << 61


@pytest.fixture
def worker():
    return uuid4()


@pytest.fixture
def notifications(stores, tokens, worker):
    with notification_connection(stores.postgres.service_url, worker) as notifications:
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


def test_a_process_confirms_for_itself_alone(worker, notifications, stores, sessions):
    other = uuid4()
    with notification_connection(stores.postgres.service_url, other) as another:
        notifications.confirm(CONFIRMED)
        with sessions() as session:
            confirmed = dict(session.execute(select(WorkerLease.id, WorkerLease.confirmed)).all())
        another.leave()
    assert confirmed[worker] == CONFIRMED
    assert confirmed[other] < CONFIRMED
