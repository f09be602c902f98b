"""Received files, and storing them pinned so that garbage collection spares them."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from tempfile import SpooledTemporaryFile
from time import sleep
from typing import BinaryIO, Final, cast

from sqlalchemy.orm import Session

from app.db.blobs import damaged_digests, is_pinned, pin
from app.db.clock import elapsed
from app.domain.artifacts.manifest import ArtifactFile
from app.domain.errors import UnavailableError
from app.domain.identity.access import any_caller
from app.services.artifacts import blob_damage
from app.services.transactions import Transactions
from app.storage.blobs import Blobs, Replaced

_PINNED_FOR: Final = timedelta(hours=1)
_SPOOL_BYTES: Final = 1 << 20
_CONCURRENT_STORES: Final = 4
# Longer than the store may take to delete an object.
_COLLECTION_S: Final = 12.0
_ROUND_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A received file: seekable and already hashed, but not yet checked or stored.

    `file_name` is the name that the sender gave, or empty.
    """

    content: BinaryIO
    sha256: str
    size_bytes: int
    file_name: str = ""

    def named(self, name: str) -> ArtifactFile:
        return ArtifactFile(name, self.sha256, self.size_bytes)


class SpooledWriter:
    """A file in the course of being received, hashed as it grows; on disk only when large.

    It is closed together with `files`, so a refused file leaves nothing behind.
    """

    def __init__(self, files: ExitStack) -> None:
        self._file = files.enter_context(SpooledTemporaryFile(max_size=_SPOOL_BYTES))  # noqa: SIM115
        self._hasher = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        self.size_bytes += len(data)
        self._hasher.update(data)
        self._file.write(data)

    def finished(self, file_name: str = "") -> ReceivedFile:
        self._file.seek(0)
        digest = f"sha256:{self._hasher.hexdigest()}"
        return ReceivedFile(cast("BinaryIO", self._file), digest, self.size_bytes, file_name)


def store_pinned(transactions: Transactions, blobs: Blobs, files: Sequence[ReceivedFile]) -> None:
    """Pin files, then store them, so that they are not collected before a row refers to them.

    An object that is damaged, or not the one that its digest names, is replaced, on the record.

    Raises:
        UnavailableError: The store does not hold the files; nothing may refer to them.
    """
    if not files:
        return
    marked = _pin(transactions, {file.sha256 for file in files})
    # Concurrent, as each upload waits for the store: a small file adds no second round trip.
    with ThreadPoolExecutor(min(len(files), _CONCURRENT_STORES)) as threads:
        stores = [threads.submit(_store, blobs, file, file.sha256 in marked) for file in files]
    for file, store in zip(files, stores, strict=True):
        if (fault := store.result()) is not None:
            blob_damage.record_replacement(transactions, digest=file.sha256, fault=fault)


def _pin(transactions: Transactions, digests: set[str]) -> set[str]:
    """Pin objects once none of them is being collected; return those that are marked as damaged.

    Raises:
        UnavailableError: The collection does not end.
    """
    begun = elapsed()
    while True:
        with transactions.begin_unaudited("blob.pin", any_caller, apart=True) as transaction:
            if pin(transaction.session, digests, transaction.now + _PINNED_FOR):
                return damaged_digests(transaction.session, digests)
        if elapsed() - begun > _COLLECTION_S:
            raise UnavailableError("Equal files are being removed from the store; try again later.")
        sleep(_ROUND_S)


def _store(blobs: Blobs, file: ReceivedFile, is_damaged: bool) -> Replaced | None:  # noqa: FBT001
    file.content.seek(0)
    if is_damaged:
        return blobs.put(
            file.content, digest=file.sha256, size_bytes=file.size_bytes, overwrite=True
        )
    return blobs.put(file.content, digest=file.sha256, size_bytes=file.size_bytes)


def require_pinned(session: Session, files: Sequence[ReceivedFile]) -> None:
    """Keep the files pinned until the transaction commits.

    Raises:
        UnavailableError: A pin has expired.
    """
    if files and not is_pinned(session, {file.sha256 for file in files}):
        raise UnavailableError("Storing the files took too long; send them again.")
