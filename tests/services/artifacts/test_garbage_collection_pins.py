"""The pins of bytes that pushes took: a collection deletes those that have ended."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from app.db.blobs import is_pinned, pin
from app.services.artifacts.garbage_collection import collect
from app.storage.s3_staging import S3Staging
from tests.support.blobs import MemoryBlobs

NOW = datetime.now(UTC)  # noqa: TID251 - whoever runs the command has a clock
TICK = timedelta(microseconds=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def collected(sessions, s3_account):
    """Collect at a moment, without any bytes in the store."""

    def collected(now, *, dry_run=False):
        staging = S3Staging(s3_account)
        grace = timedelta(days=1)
        collect(sessions, MemoryBlobs(), staging, grace=grace, dry_run=dry_run, now=now)

    return collected


@pytest.fixture
def pinned(sessions):
    """Pin an object until a moment; return a function that tells whether the pin is still there."""
    digest = f"sha256:{uuid.uuid4().hex}{uuid.uuid4().hex}"
    with sessions.begin() as session:
        pin(session, [digest], NOW)

    def pinned():
        with sessions.begin() as session:
            return is_pinned(session, [digest], LONG_AGO)

    return pinned


def test_a_collection_deletes_pins_that_have_ended(pinned, collected):
    assert pinned()
    collected(NOW)
    assert not pinned()


def test_a_collection_keeps_pins_that_last(pinned, collected):
    collected(NOW - TICK)
    assert pinned()


def test_a_rehearsal_deletes_no_pin(pinned, collected):
    collected(NOW, dry_run=True)
    assert pinned()
