"""Blobs in an S3-compatible store. The store's word is checked: it must hold what it confirms."""

import base64
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import IO, Any, BinaryIO, Final, cast

from botocore.exceptions import ClientError

from app.domain.errors import DamagedObjectError, UnavailableError
from app.storage.blobs import (
    KEY_PREFIX,
    Replaced,
    StoredBlob,
    digest_of,
    key_of,
    missing,
    read_whole,
)
from app.storage.s3_canary import Canary
from app.storage.s3_client import (
    ABSENT,
    S3Account,
    chunks_of,
    client_of,
    error_code,
    pages_of,
    store_call,
    store_errors,
)
from app.storage.s3_deadlines import PROBES, WRITES, Deadline, watched

_EXISTS: Final = {"PreconditionFailed", "ConditionalRequestConflict", "412"}
_OWNED: Final = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
# A health probe is not held up: it makes a single short attempt.
_PROBE_S: Final = 3.0


class S3Blobs:
    """Blobs in one bucket of an S3-compatible store. Thread-safe; make one per process."""

    def __init__(self, account: S3Account) -> None:
        self._bucket = account.bucket
        self._client = client_of(account, account.endpoint_url)
        public = account.public_endpoint_url
        self._signer = self._client if public is None else client_of(account, public)
        self._probe = client_of(account, account.endpoint_url, attempts=1)
        self._canary = Canary(self._probe, account.bucket)

    def put(
        self, content: BinaryIO, *, digest: str, size_bytes: int, overwrite: bool = False
    ) -> Replaced | None:
        self._canary.require_suitable()
        replaced: Replaced | None = Replaced.DAMAGED if overwrite else None
        if overwrite or not self._write(content, digest, size_bytes, only_new=True):
            replaced = replaced or self._fault(digest, size_bytes)
            if replaced is None:
                return None
            self._write(content, digest, size_bytes, only_new=False)
        if self._fault(digest, size_bytes) is not None:
            message = f"The object store confirmed {digest} but does not hold it; try again later."
            raise UnavailableError(message)
        return replaced

    def _write(self, content: BinaryIO, digest: str, size_bytes: int, *, only_new: bool) -> bool:
        """Send the bytes; False if the store says that it has them already."""
        content.seek(0)
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if only_new else {}
        with store_call("store an object", bulkhead=WRITES) as deadline:
            try:
                # The store verifies the checksum, and only one of two writers wins: neither a
                # broken transfer nor a race can leave other bytes under this key.
                stored = self._client.put_object(
                    Bucket=self._bucket,
                    Key=key_of(digest),
                    Body=cast("IO[bytes]", _Sent(content, deadline)),
                    ContentLength=size_bytes,
                    ChecksumSHA256=_checksum(digest),
                    **condition,
                )
            except ClientError as error:
                if only_new and error_code(error) in _EXISTS:
                    return False
                raise
        if stored.get("ChecksumSHA256", _checksum(digest)) != _checksum(digest):
            message = f"The object store confirmed other bytes than {digest}; try again later."
            raise UnavailableError(message)
        return True

    def _fault(self, digest: str, size_bytes: int) -> Replaced | None:
        """Return the reason why the stored object is not the one of `digest`; None if it is.

        A store that does not return the checksum of an object has to return its bytes.
        """
        with store_call("find an object"):
            try:
                found = self._client.head_object(
                    Bucket=self._bucket, Key=key_of(digest), ChecksumMode="ENABLED"
                )
            except ClientError as error:
                if error_code(error) in ABSENT:
                    return Replaced.MISSING
                raise
        if found.get("ContentLength") != size_bytes:
            return Replaced.DIFFERENT
        checksum = cast("dict[str, Any]", found).get("ChecksumSHA256")
        if checksum is not None and "-" not in checksum:  # that would be one of parts
            return None if checksum == _checksum(digest) else Replaced.DIFFERENT
        try:
            read_whole(self, digest)
        except DamagedObjectError:
            return Replaced.DIFFERENT
        return None

    @contextmanager
    def open(self, digest: str) -> Iterator[Iterator[bytes]]:
        with watched() as deadline:
            with store_errors("read an object"), deadline.running():
                try:
                    found = self._client.get_object(Bucket=self._bucket, Key=key_of(digest))
                except ClientError as error:
                    if error_code(error) in ABSENT:
                        raise missing(digest) from error
                    raise
            with closing(found["Body"]) as body:
                try:
                    yield chunks_of(body, deadline)
                except DamagedObjectError:
                    # The transfer may be at fault: the next one uses another connection.
                    self._client.close()
                    raise

    def presigned_url(self, digest: str, *, file_name: str, lifetime_s: int) -> str:
        parameters = {
            "Bucket": self._bucket,
            "Key": key_of(digest),
            "ResponseContentDisposition": f'attachment; filename="{file_name}"',
        }
        return self._signer.generate_presigned_url(
            "get_object", Params=parameters, ExpiresIn=lifetime_s
        )

    def stored(self) -> Iterator[StoredBlob]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=KEY_PREFIX
        )
        for page in pages_of(pages):
            for found in page.get("Contents", []):
                digest = digest_of(found["Key"])
                if digest is not None:
                    yield StoredBlob(digest, found["Size"], found["LastModified"])

    def delete(self, digest: str) -> None:
        with store_call("delete an object", bulkhead=WRITES):
            self._client.delete_object(Bucket=self._bucket, Key=key_of(digest))

    def check(self) -> None:
        with store_call(f"find the bucket {self._bucket}", _PROBE_S, PROBES):
            self._probe.head_bucket(Bucket=self._bucket)
        self._canary.require_suitable(asks_again=True)


class _Sent:
    """The bytes of a request; each block that is sent is progress."""

    def __init__(self, content: BinaryIO, deadline: Deadline) -> None:
        self._content = content
        self._deadline = deadline

    def read(self, size: int = -1) -> bytes:
        self._deadline.restart()
        return self._content.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        return self._content.tell()


def _checksum(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest.removeprefix("sha256:"))).decode()


def prepare_bucket(account: S3Account) -> None:
    """Create the bucket unless the account owns it already, and prove that it accepts objects.

    It makes a single short attempt, so that a caller can repeat it while a store starts.

    Raises:
        UnavailableError: The store does not respond, or refuses.
    """
    impatient = client_of(account, account.endpoint_url, attempts=1)
    with store_call(f"prepare the bucket {account.bucket}"), closing(impatient) as client:
        try:
            client.create_bucket(Bucket=account.bucket)
        except ClientError as error:
            if error_code(error) not in _OWNED:
                raise
        client.put_object(Bucket=account.bucket, Key="probe", Body=b"probe")
        client.delete_object(Bucket=account.bucket, Key="probe")
