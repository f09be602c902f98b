"""The pins of bytes that pushes took: a collection deletes those that have ended."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from app.db.blobs import pin
from app.db.models import BlobPin
from app.services.artifacts.garbage_collection import collect
from app.storage.s3_staging import S3Staging
from tests.support.blobs import MemoryBlobs

END = datetime(2030, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.fixture
def collected(sessions, s3_account, time):
    """Collect at a moment, without any bytes in the store."""

    def collected(at, *, dry_run=False):
        time.stop_at(at)
        staging = S3Staging(s3_account)
        grace = timedelta(days=1)
        collect(sessions, MemoryBlobs(), staging, grace=grace, dry_run=dry_run)

    return collected


@pytest.fixture
def pinned(sessions):
    """Pin an object until a moment; return a function that tells whether the pin is still there."""
    digest = f"sha256:{uuid.uuid4().hex}{uuid.uuid4().hex}"
    with sessions.begin() as session:
        pin(session, [digest], END)

    def pinned():
        with sessions() as session:
            return session.get(BlobPin, digest) is not None

    return pinned


def test_a_collection_deletes_pins_that_have_ended(pinned, collected):
    assert pinned()
    collected(END)
    assert not pinned()


def test_a_collection_keeps_pins_that_last(pinned, collected):
    collected(END - TICK)
    assert pinned()


def test_a_rehearsal_deletes_no_pin(pinned, collected):
    collected(END, dry_run=True)
    assert pinned()
