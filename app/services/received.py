"""Bytes that have arrived, and storing them so that nobody collects them meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO, Final

from sqlalchemy.orm import Session

from app.db.blobs import holds_lease, lease
from app.db.session import Sessions
from app.domain.errors import UnavailableError
from app.domain.manifest import ArtifactFile
from app.services.exchanges import apart
from app.storage.blobs import Blobs

_LEASE: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """Bytes that have arrived: seekable, already hashed, not yet trusted or stored."""

    content: BinaryIO
    sha256: str
    size_bytes: int

    def named(self, name: str) -> ArtifactFile:
        return ArtifactFile(name, self.sha256, self.size_bytes)


def store_leased(
    sessions: Sessions, blobs: Blobs, files: Sequence[ReceivedFile], *, now: datetime
) -> None:
    """Store bytes, leased so that nobody collects them before a row refers to them."""
    with apart(sessions).begin() as session:
        lease(session, {file.sha256 for file in files}, now + _LEASE)
    for file in files:
        file.content.seek(0)
        blobs.put(file.content, digest=file.sha256, size_bytes=file.size_bytes)


def require_leased(session: Session, files: Sequence[ReceivedFile], *, now: datetime) -> None:
    """Raise UnavailableError unless the bytes are leased still; hold that until the commit."""
    if not holds_lease(session, {file.sha256 for file in files}, now):
        raise UnavailableError("Storing the files took too long; send them again.")
