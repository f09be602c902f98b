"""Direct uploads: bytes that a client sends to the store itself, and reading them for a push."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from tempfile import TemporaryFile
from typing import IO, BinaryIO, Final, cast
from uuid import UUID

from app.db.blobs import upload_by_id, upload_of
from app.db.models import Upload
from app.db.session import Sessions
from app.domain.errors import TooLargeError, UploadIncompleteError
from app.domain.identity.access import Caller, Role, nothing_named
from app.domain.naming import PrefixName
from app.services.artifacts.spooled_files import ReceivedFile
from app.services.identity.visibility import visible_prefix
from app.storage.staging import PART_BYTES, PresignedRequest, Staging

LIFETIME: Final = timedelta(hours=24)


def begin(
    sessions: Sessions,
    staging: Staging,
    *,
    prefix: PrefixName,
    sha256: str,
    size_bytes: int,
    limit_bytes: int,
    caller: Caller,
    now: datetime,
    in_parts: bool = True,
) -> tuple[Upload, Sequence[PresignedRequest]]:
    """Announce bytes; return the requests that bring them to the store, one for each part.

    A single request is bound to the digest and the size. Parts are bound to their sizes, and the
    digest of the whole is checked when a push reads it.

    Raises:
        NotFoundError: There is no such prefix for this caller.
        ForbiddenError: The caller does not publish here.
        TooLargeError: No push may have so many bytes.
    """
    caller.require(Role.PUBLISHER, prefix)
    if size_bytes > limit_bytes:
        raise TooLargeError(f"The {size_bytes} bytes exceed the {limit_bytes} allowed.")
    with sessions.begin() as session:
        row = visible_prefix(session, caller, prefix)
        upload = Upload(
            prefix_id=row.id,
            sha256=sha256,
            size_bytes=size_bytes,
            multipart_id=None,
            created_at=now,
            created_by_id=caller.id,
            expires_at=now + LIFETIME,
        )
        if in_parts and size_bytes > PART_BYTES:
            upload.multipart_id = staging.begin(upload.key)
        session.add(upload)
    return upload, requests_for(staging, upload)


def requests_for(
    staging: Staging, upload: Upload, *, by_digest: bool = True
) -> Sequence[PresignedRequest]:
    """Return the requests for an upload's parts; without `by_digest` they need no headers."""
    lifetime_s = int(LIFETIME.total_seconds())
    if upload.multipart_id is not None:
        return staging.presigned_parts(
            upload.key,
            upload.multipart_id,
            size_bytes=upload.size_bytes,
            lifetime_s=lifetime_s,
        )
    sha256 = upload.sha256 if by_digest else None
    request = staging.presigned_put(
        upload.key, sha256=sha256, size_bytes=upload.size_bytes, lifetime_s=lifetime_s
    )
    return [request]


def announced(
    sessions: Sessions,
    *,
    prefix: PrefixName,
    caller: Caller,
    now: datetime,
    upload_id: UUID | None = None,
    sha256: str = "",
) -> Upload:
    """Return an upload that this caller has announced, by id or else by its digest.

    Nobody can refer to bytes that another has uploaded: knowing a digest proves no possession.

    Raises:
        NotFoundError: There is no such upload of this caller here, or it has expired.
        ForbiddenError: The caller does not publish here.
    """
    caller.require(Role.PUBLISHER, prefix)
    with sessions() as session:
        row = visible_prefix(session, caller, prefix)
        if upload_id is None:
            upload = upload_of(session, row.id, caller.id, sha256)
        else:
            upload = upload_by_id(session, upload_id)
    ours = upload is not None and (upload.prefix_id, upload.created_by_id) == (row.id, caller.id)
    if upload is None or not ours or upload.expires_at <= now:
        raise nothing_named("upload", str(upload_id or sha256))
    return upload


@contextmanager
def received(staging: Staging, upload: Upload) -> Iterator[ReceivedFile]:
    """Yield uploaded bytes as if they had come with the push, in a file that ends with it.

    They are copied and checked once, so that nothing done to the upload later matters. The
    upload stays until it expires, so that a push can be tried again.

    Raises:
        UploadIncompleteError: Nothing was uploaded, or other bytes than announced.
    """
    if upload.multipart_id is not None:
        staging.finish(upload.key, upload.multipart_id)
    with TemporaryFile() as file:
        yield _copied(staging, upload, file)


def _copied(staging: Staging, upload: Upload, file: IO[bytes]) -> ReceivedFile:
    hasher, size_bytes = hashlib.sha256(), 0
    with staging.open(upload.key) as chunks:
        if chunks is None:
            raise UploadIncompleteError(f"Nothing was uploaded for {upload.id} yet.")
        for chunk in chunks:
            size_bytes += len(chunk)
            if size_bytes > upload.size_bytes:
                break
            hasher.update(chunk)
            file.write(chunk)
    digest = f"sha256:{hasher.hexdigest()}"
    if (digest, size_bytes) != (upload.sha256, upload.size_bytes):
        raise UploadIncompleteError(
            f"The upload {upload.id} does not hold the {upload.size_bytes} bytes hashing to "
            f"{upload.sha256}; send them again."
        )
    return ReceivedFile(cast("BinaryIO", file), digest, size_bytes)
