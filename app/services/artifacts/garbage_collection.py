"""The operator's maintenance of stored bytes: garbage collection and scrubbing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from app.db.blobs import (
    ReferencedBlob,
    announced_among,
    damaged_digests,
    delete_expired_pins,
    delete_uploads,
    expired_uploads,
    is_referenced,
    mark_for_collection,
    referenced_after,
    unmark_collected,
    unreferenced,
)
from app.db.clock import elapsed, time_in
from app.db.idempotency import delete_expired_records
from app.db.models.storage import UPLOADS, upload_id_of
from app.db.session import Sessions
from app.domain.audit.chain import REGISTRY, Facts
from app.domain.identity.access import any_caller
from app.services.artifacts import blob_damage
from app.services.artifacts.uploads import LIFETIME
from app.services.transactions import Transactions, transactions_of_server
from app.storage.blobs import Blobs, StoredBlob
from app.storage.staging import Staging

GRACE: Final = timedelta(hours=24)
"""The age below which an object is kept, unless the operator asks for another one."""

COLLECT: Final = "storage.collect"

_BATCH: Final = 500
_MOST_SHOWN: Final = 1_000_000
# A mark outlives by far the call that deletes, which must begin soon after it.
_MARKED_FOR: Final = timedelta(minutes=15)
_LATEST_DELETE_S: Final = 60.0


@dataclass(slots=True)
class Collected:
    """The counts of a collection: objects removed, or that a dry run would remove, of `stored`."""

    stored: int = 0
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
    is marked before it is removed, which keeps pushes from pinning it. The store is called
    between transactions: after a crash, the mark expires and the next collection goes on.
    """
    collected, transactions = Collected(), transactions_of_server(sessions)
    with sessions() as session:
        now = time_in(session)
    old = _older(blobs, now - grace, collected)
    while batch := {blob.digest: blob for blob in islice(old, _BATCH)}:
        with sessions() as session:
            candidates = unreferenced(session, batch.keys())
        for digest in sorted(candidates):
            if dry_run or _remove(transactions, blobs, digest):
                collected.objects += 1
                collected.size_bytes += batch[digest].size_bytes
    collected.uploads = _expire_uploads(transactions, staging, dry_run=dry_run)
    collected.uploads += _remove_leftovers(
        sessions, staging, before=now - LIFETIME - max(grace, timedelta(0)), dry_run=dry_run
    )
    if not dry_run:
        _delete_expired_rows(transactions)
        _record(transactions, collected)
    return collected


def _older(blobs: Blobs, than: datetime, collected: Collected) -> Iterator[StoredBlob]:
    """Yield the objects that were stored before a moment, and count all."""
    for blob in blobs.stored():
        collected.stored += 1
        if blob.stored_at <= than:
            yield blob


def _remove(transactions: Transactions, blobs: Blobs, digest: str) -> bool:
    begun = elapsed()
    until = _mark(transactions, digest)
    if until is None or elapsed() - begun > _LATEST_DELETE_S:
        return False
    blobs.delete(digest)
    with transactions.begin_unaudited("storage.removed", any_caller) as transaction:
        unmark_collected(transaction.session, digest, until)
    return True


def _mark(transactions: Transactions, digest: str) -> datetime | None:
    """Keep pushes from pinning an object; None if one has, or if there is a reference to it."""
    with transactions.begin_unaudited("storage.remove", any_caller) as transaction:
        session, until = transaction.session, transaction.now + _MARKED_FOR
        if not mark_for_collection(session, digest, until):
            return None
        if is_referenced(session, digest):
            unmark_collected(session, digest, until)
            return None
        return until


def _expire_uploads(transactions: Transactions, staging: Staging, *, dry_run: bool) -> int:
    """Remove the uploads that have expired, which no push reads any more."""
    if dry_run:
        with transactions.read() as session:
            return len(expired_uploads(session, _MOST_SHOWN))
    removed = 0
    while True:
        with transactions.read() as session:
            expired = expired_uploads(session, _BATCH)
        for upload in expired:
            staging.discard(upload.key, upload.multipart_id)
        if not expired:
            return removed
        with transactions.begin_unaudited("storage.expire", any_caller) as transaction:
            removed += delete_uploads(transaction.session, {upload.id for upload in expired})


def _remove_leftovers(
    sessions: Sessions, staging: Staging, *, before: datetime, dry_run: bool
) -> int:
    """Remove uploads without a row: of an announcement that failed, or sent after it expired."""
    old = (each for each in staging.leftovers(UPLOADS) if each.begun_at <= before)
    removed = 0
    while batch := list(islice(old, _BATCH)):
        ids = {each.key: upload_id_of(each.key) for each in batch}
        with sessions() as session:
            announced = announced_among(session, {known for known in ids.values() if known})
        for each in batch:
            if ids[each.key] is not None and ids[each.key] not in announced:
                removed += 1
                if not dry_run:
                    staging.discard(each.key, each.multipart_id)
    return removed


def _delete_expired_rows(transactions: Transactions) -> None:
    with transactions.begin_unaudited("storage.expire", any_caller) as transaction:
        delete_expired_pins(transaction.session)
        delete_expired_records(transaction.session)


def _record(transactions: Transactions, collected: Collected) -> None:
    with transactions.begin(COLLECT, any_caller, subject=REGISTRY) as transaction:
        facts: Facts = {
            "objects": collected.objects,
            "size_bytes": collected.size_bytes,
            "uploads": collected.uploads,
        }
        transaction.record(COLLECT, facts)


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
        damage = blob_damage.damage_of(blobs, blob.digest)
        if damage is not None:
            found.damaged[blob.digest] = blob_damage.mark(
                sessions, digest=blob.digest, problem=damage.detail
            )
        elif blob.digest in marked:
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
