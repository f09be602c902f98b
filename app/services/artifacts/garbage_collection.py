"""The operator's maintenance of stored bytes: garbage collection and scrubbing."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Final

from app.db.blobs import (
    ReferencedBlob,
    damaged_digests,
    delete_expired_pins,
    expired_uploads,
    is_referenced,
    lock_for_collection,
    referenced_after,
    unpin,
    unreferenced,
)
from app.db.clock import time_in
from app.db.idempotency import delete_expired_records
from app.db.session import Sessions
from app.domain.audit.chain import REGISTRY, Facts
from app.domain.errors import DamagedObjectError
from app.domain.identity.access import any_caller
from app.services.artifacts import blob_damage
from app.services.transactions import Transactions, transactions_of_server
from app.storage.blobs import Blobs, verified
from app.storage.staging import Staging

_BATCH: Final = 500


@dataclass(slots=True)
class Collected:
    """The counts of a collection: objects removed, or that a dry run would remove."""

    objects: int = 0
    size_bytes: int = 0
    uploads: int = 0


def collect(
    sessions: Sessions,
    blobs: Blobs,
    staging: Staging,
    *,
    grace: timedelta,
    dry_run: bool,
) -> Collected:
    """Remove objects that no version refers to and that are older than `grace`.

    This is safe while pushes run: a push pins its objects before it stores them, and an object
    is removed only under a lock that keeps pushes from pinning it.
    """
    collected, transactions = Collected(), transactions_of_server(sessions)
    with sessions() as session:
        now = time_in(session)
    old = (blob for blob in blobs.stored() if blob.stored_at <= now - grace)
    while batch := {blob.digest: blob for blob in islice(old, _BATCH)}:
        with sessions() as session:
            candidates = unreferenced(session, batch.keys())
        for digest in sorted(candidates):
            if dry_run or _remove(transactions, blobs, digest):
                collected.objects += 1
                collected.size_bytes += batch[digest].size_bytes
    collected.uploads = _expire_uploads(transactions, staging, dry_run=dry_run)
    if not dry_run:
        _record(transactions, collected)
    return collected


def _remove(transactions: Transactions, blobs: Blobs, digest: str) -> bool:
    with transactions.begin_unaudited("storage.remove", any_caller) as transaction:
        session = transaction.session
        if not lock_for_collection(session, digest):
            return False
        removable = not is_referenced(session, digest)
        if removable:
            blobs.delete(digest)
        unpin(session, digest)
        return removable


def _expire_uploads(transactions: Transactions, staging: Staging, *, dry_run: bool) -> int:
    with transactions.begin_unaudited("storage.expire", any_caller) as transaction:
        session = transaction.session
        expired = expired_uploads(session)
        if not dry_run:
            for upload in expired:
                staging.discard(upload.key, upload.multipart_id)
                session.delete(upload)
            delete_expired_pins(session)
            delete_expired_records(session)
        return len(expired)


def _record(transactions: Transactions, collected: Collected) -> None:
    with transactions.begin("storage.collect", any_caller, subject=REGISTRY) as transaction:
        facts: Facts = {
            "objects": collected.objects,
            "size_bytes": collected.size_bytes,
            "uploads": collected.uploads,
        }
        transaction.record("storage.collect", facts)


@dataclass(slots=True)
class Scrubbed:
    """The counts of a scrub, and the versions that each damaged object belongs to."""

    objects: int = 0
    size_bytes: int = 0
    damaged: dict[str, list[str]] = field(default_factory=dict)


def scrub(
    sessions: Sessions,
    blobs: Blobs,
    *,
    progress: Callable[[int], None],
) -> Scrubbed:
    """Read every object that a version refers to, and recompute its hash.

    Damaged objects are marked, and marked objects that are intact again are unmarked.
    `progress` is called after each object with its size in bytes.
    """
    with sessions() as session:
        marked = damaged_digests(session)
    found = Scrubbed()
    for blob in _referenced(sessions):
        try:
            _read(blobs, blob)
        except DamagedObjectError as error:
            found.damaged[blob.digest] = blob_damage.mark(
                sessions, digest=blob.digest, problem=error.detail
            )
        else:
            if blob.digest in marked:
                blob_damage.unmark(sessions, digest=blob.digest)
        found.objects += 1
        found.size_bytes += blob.size_bytes
        progress(blob.size_bytes)
    return found


def _referenced(sessions: Sessions) -> Iterator[ReferencedBlob]:
    last = ""
    while True:
        with sessions() as session:
            batch = referenced_after(session, last, _BATCH)
        if not batch:
            return
        yield from batch
        last = batch[-1].digest


def _read(blobs: Blobs, blob: ReferencedBlob) -> None:
    with blobs.open(blob.digest) as chunks:
        # An empty range yields no bytes, yet `verified` reads and hashes the whole object.
        deque(verified(chunks, blob.digest, range(0)), maxlen=0)
