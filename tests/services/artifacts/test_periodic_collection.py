"""Servers collect garbage by themselves, one of them at a time."""

import hashlib
import threading
import uuid
from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine

from app import background
from app.background import running_background_tasks
from app.db.audit import latest_at
from app.db.migrations import migrate
from app.db.session import held_alone, sessions_on
from app.local.postgres import SERVICE_ROLE
from app.main import app_of
from app.services.artifacts import periodic_collection
from app.services.artifacts.garbage_collection import COLLECT, collect
from app.services.artifacts.periodic_collection import LOCK, collect_if_due
from app.services.identity.bootstrap import first_admin
from app.storage.s3_staging import S3Staging
from tests.support.blobs import MemoryBlobs
from tests.support.observing import eventually

DAY = timedelta(days=1)


@pytest.fixture
def staging(s3_account):
    return S3Staging(s3_account)


@pytest.fixture
def collected(sessions, staging):
    """Collect if it is due, on a store without objects."""
    return lambda: collect_if_due(sessions, MemoryBlobs(), staging, interval=DAY)


@pytest.fixture
def since(sessions, staging, time):
    """Collect, and return a function that stops the time so long after the latest collection.

    Other tests have collected in a future of theirs.
    """
    collect(sessions, MemoryBlobs(), staging, grace=DAY, dry_run=False)

    def since(age):
        with sessions() as session:
            time.stop_at(latest_at(session, COLLECT) + age)

    return since


def test_a_collection_is_due_once_in_an_interval(collected, since):
    since(DAY - timedelta(minutes=1))
    assert collected() is None
    since(DAY)
    assert collected() is not None
    assert collected() is None


def test_only_one_process_collects_at_a_time(collected, sessions, since):
    since(DAY)
    with held_alone(sessions, LOCK) as is_alone:
        assert is_alone
        assert collected() is None
    assert collected() is not None


def test_the_lock_ends_with_its_connection(sessions):
    def others_are_kept_out():
        with held_alone(sessions, LOCK) as is_alone, held_alone(sessions, LOCK) as is_second:
            assert not (is_alone and is_second)
            return is_alone

    for _ in range(2):
        # The server may still be ending the connection that held the lock before.
        eventually(others_are_kept_out)


def test_of_two_processes_that_find_it_due_one_collects(sessions, staging, since, monkeypatch):
    since(DAY)
    both = threading.Barrier(2)
    is_due = periodic_collection._is_due
    asked = threading.local()

    def is_due_for_both(*arguments):
        found = is_due(*arguments)
        if not getattr(asked, "once", False):
            asked.once = True
            both.wait(20)
        return found

    monkeypatch.setattr(periodic_collection, "_is_due", is_due_for_both)
    found = []

    def run():
        found.append(collect_if_due(sessions, MemoryBlobs(), staging, interval=DAY))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each is None for each in found) == [False, True]


def test_a_server_collects_without_being_asked(parts, blobs, since, monkeypatch):
    monkeypatch.setattr(background, "_COLLECT_ROUND_S", 0.1)
    monkeypatch.setattr(periodic_collection, "_LARGEST_SHARE", 1)  # other tests leave objects
    content = uuid.uuid4().bytes
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    blobs.put(BytesIO(content), digest=digest, size_bytes=len(content))
    since(2 * DAY)
    app = app_of(replace(parts, collect_interval=DAY), lifespan=running_background_tasks)
    with TestClient(app):
        eventually(lambda: digest not in {each.digest for each in blobs.stored()}, within_s=30)


def test_a_server_told_not_to_collect_does_not(parts, sessions, since, monkeypatch):
    monkeypatch.setattr(background, "_COLLECT_ROUND_S", 0.01)
    since(2 * DAY)
    tasks = background.StoreTasks(replace(parts, collect_interval=timedelta(0)))
    tasks.start()
    tasks._thread.join(20)
    assert not tasks._thread.is_alive()
    assert periodic_collection._is_due(sessions, DAY)


@pytest.mark.parametrize(("foreign", "removed"), [(101, 0), (100, 100)])
def test_a_store_of_mostly_unknown_objects_is_left_to_an_operator(
    sessions, staging, since, caplog, foreign, removed
):
    blobs = MemoryBlobs()
    for number in range(foreign):
        content = f"{uuid.uuid4()} {number}".encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        blobs.put(BytesIO(content), digest=digest, size_bytes=len(content))
    since(DAY)
    collect_if_due(sessions, blobs, staging, interval=DAY)
    assert len(blobs.objects) == foreign - removed
    assert ("is this the right bucket" in caplog.text) is (removed == 0)


def test_a_new_registry_collects_after_an_interval(an_empty_database, staging):
    """Its first minutes may be those of a database that belongs to another bucket."""
    engine = create_engine(an_empty_database)
    with engine.begin() as connection:
        migrate(connection, service_role=SERVICE_ROLE)
    sessions = sessions_on(engine)
    assert not periodic_collection._is_due(sessions, timedelta(0))
    first_admin(sessions, name="first", grants=(), lifetime=DAY)
    assert not periodic_collection._is_due(sessions, DAY)
    assert periodic_collection._is_due(sessions, timedelta(0))
    engine.dispose()
