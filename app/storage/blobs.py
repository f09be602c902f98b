"""Content-addressed blobs: the protocol of a store, its object keys, and verified reading."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO, Final, Protocol

from app.domain.errors import DamagedObjectError

KEY_PREFIX: Final = "blobs/sha256/"


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """An object in the store, whether or not the database refers to it."""

    digest: str
    size_bytes: int
    stored_at: datetime


class Replaced(StrEnum):
    """The fault of an object that a write replaced."""

    MISSING = "missing"
    DIFFERENT = "different"
    DAMAGED = "damaged"


class Blobs(Protocol):
    """A store of immutable bytes by their SHA-256 digest: S3, or a dictionary in tests.

    Every call raises UnavailableError when the store does not respond.
    """

    def put(
        self, content: BinaryIO, *, digest: str, size_bytes: int, overwrite: bool = False
    ) -> Replaced | None:
        """Store `content` durably unless it already exists; safe to repeat.

        Return the fault of the object that was there, or None. With `overwrite`, the object is
        known to be damaged and is replaced in any case.
        """

    def open(self, digest: str) -> AbstractContextManager[Iterator[bytes]]:
        """Yield the stored bytes in chunks, without verifying them.

        Raises:
            DamagedObjectError: Nothing is stored under `digest`.
        """

    def presigned_url(self, digest: str, *, file_name: str, lifetime_s: int) -> str:
        """Return a URL at which anyone can read the bytes for `lifetime_s` seconds."""

    def stored(self) -> Iterator[StoredBlob]:
        """Yield every stored object, fetching the store's listing page by page."""

    def delete(self, digest: str) -> None:
        """Delete an object; a missing object is no error."""

    def check(self) -> None:
        """Require that the store responds, has the bucket and does what the registry relies on.

        Raises:
            UnavailableError: It does not; a suitable store's error has no `lacking`.
        """


def key_of(digest: str) -> str:
    """Return the object key of a digest: `blobs/sha256/ab/abcdef...`."""
    hexadecimal = digest.removeprefix("sha256:")
    return f"{KEY_PREFIX}{hexadecimal[:2]}/{hexadecimal}"


def digest_of(key: str) -> str | None:
    """Return the digest of an object key; None if the key is not that of a blob."""
    digest = f"sha256:{key.rpartition('/')[2]}"
    return digest if key_of(digest) == key else None


def missing(digest: str) -> DamagedObjectError:
    return DamagedObjectError(f"The object {digest} is missing from the store.", digest=digest)


def verified(chunks: Iterable[bytes], digest: str, span: range) -> Iterator[bytes]:
    """Yield the bytes at the offsets in `span`, the last of them only once the object verifies.

    The digest covers the whole object, so all of it is read and hashed even for a part. One chunk
    is held back: a consumer that received `len(span)` bytes received verified bytes, and the
    transfer of damaged bytes breaks off.

    Raises:
        DamagedObjectError: The bytes do not hash to `digest`.
    """
    hasher = hashlib.sha256()
    held, offset = b"", 0
    for chunk in chunks:
        hasher.update(chunk)
        part = chunk[max(span.start - offset, 0) : max(span.stop - offset, 0)]
        offset += len(chunk)
        if part:
            if held:
                yield held
            held = part
    if f"sha256:{hasher.hexdigest()}" != digest:
        message = f"The bytes stored as {digest} do not hash to it; nothing was served."
        raise DamagedObjectError(message, digest=digest)
    if held:
        yield held


def read_whole(blobs: Blobs, digest: str) -> None:
    """Read and hash an object.

    Raises:
        DamagedObjectError: It is missing, or its bytes do not hash to `digest`.
    """
    with blobs.open(digest) as chunks:
        # An empty range yields no bytes, yet `verified` reads and hashes the whole object.
        deque(verified(chunks, digest, range(0)), maxlen=0)
