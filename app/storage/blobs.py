"""Content-addressed bytes: the protocol of a store, its keys, and reading that verifies."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final, Protocol

from app.domain.errors import DamagedObjectError

KEY_PREFIX: Final = "blobs/sha256/"


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """An object that the store holds, referred to or not."""

    digest: str
    size_bytes: int
    stored_at: datetime


class Blobs(Protocol):
    """A store of immutable bytes by their SHA-256 digest. There are two: S3, and memory in tests.

    Every call raises UnavailableError when the store does not answer.
    """

    def put(self, content: BinaryIO, *, digest: str, size_bytes: int) -> None:
        """Store `content` durably unless it is there already; safe to repeat."""

    def open(self, digest: str) -> AbstractContextManager[Iterator[bytes]]:
        """Yield the stored bytes in chunks, as they are.

        Raises:
            DamagedObjectError: Nothing is stored under `digest`.
        """

    def presigned_url(self, digest: str, *, file_name: str, lifetime_s: int) -> str:
        """Return a URL at which anybody can read the bytes for `lifetime_s` seconds."""

    def stored(self) -> Iterator[StoredBlob]:
        """Yield every stored object, a page of the store's listing at a time."""

    def delete(self, digest: str) -> None:
        """Delete an object; nothing being there is fine."""

    def check(self) -> None:
        """Raise UnavailableError unless the store answers and the bucket is there."""


def key_of(digest: str) -> str:
    """Return the object key of a digest: `blobs/sha256/ab/abcdef...`."""
    hexadecimal = digest.removeprefix("sha256:")
    return f"{KEY_PREFIX}{hexadecimal[:2]}/{hexadecimal}"


def digest_of(key: str) -> str | None:
    """Return the digest whose object key this is; None for a key that is none of ours."""
    digest = f"sha256:{key.rpartition('/')[2]}"
    return digest if key_of(digest) == key else None


def missing(digest: str) -> DamagedObjectError:
    return DamagedObjectError(f"The object {digest} is missing from the store.", digest=digest)


def verified(chunks: Iterable[bytes], digest: str, span: range) -> Iterator[bytes]:
    """Yield the bytes at the offsets in `span`, the last of them only once all verify.

    The digest is over the whole object, so all of it is read and hashed even for a part. What
    is held back is one chunk: a consumer that got `len(span)` bytes got bytes that verify, and
    whoever got the wrong ones sees the transfer break off.

    Raises:
        DamagedObjectError: The bytes are not those of `digest`.
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
