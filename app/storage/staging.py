"""The staging area: where clients send bytes directly, before anybody has checked them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

PART_BYTES: Final = 64 << 20
"""Uploads above this size go in parts of it; S3 allows 10,000 of them."""


@dataclass(frozen=True, slots=True)
class PresignedRequest:
    """A request that anybody may send for a while, with exactly these headers."""

    method: str
    url: str
    headers: dict[str, str]
    size_bytes: int


class Staging(Protocol):
    """Uploads in progress. Every call raises UnavailableError when the store does not answer."""

    def begin(self, key: str) -> str:
        """Begin an upload in parts; return its id at the store."""

    def presigned_put(
        self, key: str, *, sha256: str | None, size_bytes: int, lifetime_s: int
    ) -> PresignedRequest:
        """Return a request that stores so many bytes, and with `sha256` only those bytes.

        The store checks both. Clients that send no headers of ours (Git LFS) get a request
        without a digest; what they sent is checked when it is read.
        """

    def presigned_parts(
        self, key: str, multipart_id: str, *, size_bytes: int, lifetime_s: int
    ) -> Sequence[PresignedRequest]:
        """Return a request for each part, in order."""

    def finish(self, key: str, multipart_id: str) -> None:
        """Put the parts together; finishing what is finished changes nothing."""

    def open(self, key: str) -> AbstractContextManager[Iterator[bytes] | None]:
        """Yield the bytes in chunks; None if nothing was uploaded."""

    def discard(self, key: str, multipart_id: str | None) -> None:
        """Remove what was uploaded, whole or in parts; nothing being there is fine."""
