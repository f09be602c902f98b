"""The staging area: clients upload bytes to it directly, before the registry checks them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

PART_BYTES: Final = 64 << 20
"""Larger uploads are split into parts of this size; S3 allows 10,000 parts."""


@dataclass(frozen=True, slots=True)
class PresignedRequest:
    """A request that anyone may send until it expires, with exactly these headers."""

    method: str
    url: str
    headers: dict[str, str]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StagedUpload:
    """An uploaded file, or an upload in parts that has not ended, whether or not announced."""

    key: str
    multipart_id: str | None
    begun_at: datetime


class Staging(Protocol):
    """Uploads in progress. Every call raises UnavailableError when the store does not respond."""

    def begin(self, key: str) -> str:
        """Begin an upload in parts; return the id that the store gave it."""

    def presigned_put(
        self, key: str, *, sha256: str, size_bytes: int, lifetime_s: int, in_url: bool = False
    ) -> PresignedRequest:
        """Return a request that uploads a file of this digest and size; the store checks both.

        With `in_url`, the URL carries the digest, for clients that send no headers of others.
        """

    def presigned_parts(
        self, key: str, multipart_id: str, *, size_bytes: int, lifetime_s: int
    ) -> Sequence[PresignedRequest]:
        """Return a request for each part, in order."""

    def finish(self, key: str, multipart_id: str) -> None:
        """Assemble the parts; repeating it changes nothing."""

    def open(self, key: str) -> AbstractContextManager[Iterator[bytes] | None]:
        """Yield the bytes in chunks; None if nothing was uploaded."""

    def discard(self, key: str, multipart_id: str | None) -> None:
        """Remove the uploaded file or parts; a missing upload is no error."""

    def leftovers(self, prefix: str) -> Iterator[StagedUpload]:
        """Yield everything that was uploaded below a prefix and not discarded."""
