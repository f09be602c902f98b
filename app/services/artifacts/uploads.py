"""Direct uploads: a client sends bytes straight to the object store, and a push reads them."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from tempfile import TemporaryFile
from typing import IO, BinaryIO, Final, cast
from uuid import UUID, uuid4

from app.db.blobs import upload_by_id, upload_of
from app.db.clock import time_in
from app.db.models import Prefix, Upload
from app.db.models.storage import key_of_upload
from app.db.quotas import lock_quota
from app.domain.artifacts.quotas import QuotaLimits
from app.domain.errors import TooLargeError, UnavailableError, UploadIncompleteError
from app.domain.identity.access import Role, not_found, role_on
from app.domain.naming import PrefixName
from app.services.artifacts.quotas import require_room_to_announce
from app.services.artifacts.spooled_files import ReceivedFile
from app.services.identity.visibility import visible_prefix
from app.services.transactions import Transaction, Transactions
from app.storage.staging import PART_BYTES, PresignedRequest, Staging

LIFETIME: Final = timedelta(hours=24)


def begin(
    transactions: Transactions,
    staging: Staging,
    *,
    prefix: PrefixName,
    sha256: str,
    size_bytes: int,
    limit_bytes: int,
    quota: QuotaLimits,
) -> tuple[Upload, Sequence[PresignedRequest]]:
    """Announce an upload; return the presigned requests that carry it out, one for each part.

    A single request is bound to the digest and the size. Parts are bound to their sizes only;
    the digest of the whole upload is checked when a push reads it.

    Raises:
        NotFoundError: The prefix does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not a publisher of this prefix.
        TooLargeError: The size exceeds the limit for a push.
        QuotaExceededError: The upload would pass the quota of the namespace.
    """
    needs = role_on(Role.PUBLISHER, prefix)
    needs(transactions.caller)
    _require_size(size_bytes, limit_bytes)
    upload_id, multipart_id = uuid4(), None
    if size_bytes > PART_BYTES:
        with transactions.read() as session:
            visible_prefix(session, transactions.caller, prefix)
            require_room_to_announce(session, prefix.namespace, [size_bytes], quota)
        # Before the transaction: a store that hangs holds no connection of the database.
        multipart_id = staging.begin(key_of_upload(upload_id))
    try:
        with transactions.begin_unaudited("upload.announce", needs) as transaction:
            row = visible_prefix(transaction.session, transaction.caller, prefix)
            upload = _upload(transaction, row, sha256, size_bytes, multipart_id)
            upload.id = upload_id
            _announce(transaction, prefix.namespace, [upload], quota)
    except BaseException:
        if multipart_id is not None:
            with suppress(UnavailableError):  # a collection removes it later
                staging.discard(key_of_upload(upload_id), multipart_id)
        raise
    return upload, requests_for(staging, upload)


def begin_all(
    transactions: Transactions,
    *,
    prefix: PrefixName,
    files: Sequence[tuple[str, int]],
    limit_bytes: int,
    quota: QuotaLimits,
) -> Sequence[Upload]:
    """Announce an upload for each digest and size, without parts; either all of them or none.

    Raises:
        NotFoundError: The prefix does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not a publisher of this prefix.
        TooLargeError: A size exceeds the limit for a push.
        QuotaExceededError: Together they would pass the quota of the namespace.
    """
    needs = role_on(Role.PUBLISHER, prefix)
    needs(transactions.caller)
    for _, size_bytes in files:
        _require_size(size_bytes, limit_bytes)
    with transactions.begin_unaudited("upload.announce", needs) as transaction:
        row = visible_prefix(transaction.session, transaction.caller, prefix)
        announced = [_upload(transaction, row, sha256, size, None) for sha256, size in files]
        _announce(transaction, prefix.namespace, announced, quota)
    return announced


def _require_size(size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise TooLargeError(f"The upload has {size_bytes} bytes; the limit is {limit_bytes}.")


def _announce(
    transaction: Transaction, namespace: str, uploads: Sequence[Upload], quota: QuotaLimits
) -> None:
    """Insert announcements that fit; the lock lets only one request count and add at a time."""
    session = transaction.session
    lock_quota(session, namespace)
    require_room_to_announce(session, namespace, [each.size_bytes for each in uploads], quota)
    session.add_all(uploads)


def _upload(
    transaction: Transaction,
    prefix: Prefix,
    sha256: str,
    size_bytes: int,
    multipart_id: str | None,
) -> Upload:
    return Upload(
        prefix_id=prefix.id,
        namespace=prefix.namespace,
        sha256=sha256,
        size_bytes=size_bytes,
        multipart_id=multipart_id,
        created_at=transaction.now,
        created_by_id=transaction.caller.id,
        expires_at=transaction.now + LIFETIME,
    )


def requests_for(
    staging: Staging, upload: Upload, *, in_url: bool = False
) -> Sequence[PresignedRequest]:
    """Return the presigned requests of an upload; with `in_url`, the URL carries the digest."""
    lifetime_s = int(LIFETIME.total_seconds())
    if upload.multipart_id is not None:
        return staging.presigned_parts(
            upload.key,
            upload.multipart_id,
            size_bytes=upload.size_bytes,
            lifetime_s=lifetime_s,
        )
    request = staging.presigned_put(
        upload.key,
        sha256=upload.sha256,
        size_bytes=upload.size_bytes,
        lifetime_s=lifetime_s,
        in_url=in_url,
    )
    return [request]


def announced(
    transactions: Transactions,
    *,
    prefix: PrefixName,
    upload_id: UUID | None = None,
    sha256: str = "",
) -> Upload:
    """Return an upload that this caller announced, by its id or by its digest.

    Callers cannot refer to another principal's upload: knowing a digest does not prove possession
    of the bytes.

    Raises:
        NotFoundError: This caller has no such upload for the prefix, or it has expired.
        ForbiddenError: The caller is not a publisher of this prefix.
    """
    caller = transactions.caller
    caller.require(Role.PUBLISHER, prefix)
    with transactions.read() as session:
        now = time_in(session)
        row = visible_prefix(session, caller, prefix)
        if upload_id is None:
            upload = upload_of(session, row.id, caller.id, sha256)
        else:
            upload = upload_by_id(session, upload_id)
    is_own = upload is not None and (upload.prefix_id, upload.created_by_id) == (row.id, caller.id)
    if upload is None or not is_own or upload.expires_at <= now:
        raise not_found("upload", str(upload_id or sha256))
    return upload


@contextmanager
def received(staging: Staging, upload: Upload) -> Iterator[ReceivedFile]:
    """Yield an upload as a received file, which is closed when the context ends.

    The bytes are copied and checked once, so later changes to the upload have no effect. The
    upload stays until it expires, so a failed push can be retried.

    Raises:
        UploadIncompleteError: Nothing was uploaded, or the bytes differ from those announced.
    """
    if upload.multipart_id is not None:
        staging.finish(upload.key, upload.multipart_id)
    with TemporaryFile() as file:
        yield _copied(staging, upload, file)


def _copied(staging: Staging, upload: Upload, file: IO[bytes]) -> ReceivedFile:
    hasher, size_bytes = hashlib.sha256(), 0
    with staging.open(upload.key) as chunks:
        if chunks is None:
            raise UploadIncompleteError(f"The upload {upload.id} has received no bytes yet.")
        for chunk in chunks:
            size_bytes += len(chunk)
            if size_bytes > upload.size_bytes:
                break
            hasher.update(chunk)
            file.write(chunk)
    digest = f"sha256:{hasher.hexdigest()}"
    if (digest, size_bytes) != (upload.sha256, upload.size_bytes):
        raise UploadIncompleteError(
            f"The upload {upload.id} does not hold the announced {upload.size_bytes} bytes with "
            f"digest {upload.sha256}; send them again."
        )
    return ReceivedFile(cast("BinaryIO", file), digest, size_bytes)
