"""Blobs in an S3-compatible store, and the S3 client that the staging area uses as well."""

import base64
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, BinaryIO, Final

import boto3  # noqa: TID251 - this is the module
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from app.domain.errors import UnavailableError
from app.storage.blobs import KEY_PREFIX, StoredBlob, digest_of, key_of, missing

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

CHUNK_BYTES: Final = 1 << 18
_EXISTS: Final = {"PreconditionFailed", "ConditionalRequestConflict", "412"}
_ABSENT: Final = {"NoSuchKey", "404", "NotFound"}
_OWNED: Final = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


@dataclass(frozen=True, slots=True)
class S3Account:
    """The location of a bucket and the credentials for it.

    `public_endpoint_url` is the address at which clients reach the store, if it differs.
    """

    endpoint_url: str | None
    access_key: str
    secret_key: str
    bucket: str
    region: str = "us-east-1"
    public_endpoint_url: str | None = None


class S3Blobs:
    """Blobs in one bucket of an S3-compatible store. Thread-safe; make one per process."""

    def __init__(self, account: S3Account) -> None:
        self._bucket = account.bucket
        self._client = client_of(account, account.endpoint_url)
        public = account.public_endpoint_url
        self._signer = self._client if public is None else client_of(account, public)
        # A single short attempt, so that a health probe is not held up.
        self._probe = client_of(account, account.endpoint_url, attempts=1, read_timeout_s=3)

    def put(self, content: BinaryIO, *, digest: str, size_bytes: int) -> None:
        checksum = base64.b64encode(bytes.fromhex(digest.removeprefix("sha256:"))).decode()
        with store_errors("store an object"):
            try:
                # The store verifies the checksum, and only one of two writers wins: neither a
                # broken transfer nor a race can leave other bytes under this key.
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=key_of(digest),
                    Body=content,
                    ContentLength=size_bytes,
                    ChecksumSHA256=checksum,
                    IfNoneMatch="*",
                )
            except ClientError as error:
                if error_code(error) not in _EXISTS:
                    raise

    @contextmanager
    def open(self, digest: str) -> Iterator[Iterator[bytes]]:
        with store_errors("read an object"):
            try:
                found = self._client.get_object(Bucket=self._bucket, Key=key_of(digest))
            except ClientError as error:
                if error_code(error) in _ABSENT:
                    raise missing(digest) from error
                raise
            body = found["Body"]
            try:
                yield body.iter_chunks(CHUNK_BYTES)
            finally:
                body.close()

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
        with store_errors("list its objects"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=KEY_PREFIX
            )
            for page in pages:
                for found in page.get("Contents", []):
                    digest = digest_of(found["Key"])
                    if digest is not None:
                        yield StoredBlob(digest, found["Size"], found["LastModified"])

    def delete(self, digest: str) -> None:
        with store_errors("delete an object"):
            self._client.delete_object(Bucket=self._bucket, Key=key_of(digest))

    def check(self) -> None:
        with store_errors(f"find the bucket {self._bucket}"):
            self._probe.head_bucket(Bucket=self._bucket)


def prepare_bucket(account: S3Account) -> None:
    """Create the bucket unless the account owns it already, and prove that it accepts objects.

    It makes a single short attempt, so that a caller can repeat it while a store starts.

    Raises:
        UnavailableError: The store does not respond, or refuses.
    """
    impatient = client_of(account, account.endpoint_url, attempts=1, read_timeout_s=5)
    with store_errors(f"prepare the bucket {account.bucket}"), closing(impatient) as client:
        try:
            client.create_bucket(Bucket=account.bucket)
        except ClientError as error:
            if error_code(error) not in _OWNED:
                raise
        client.put_object(Bucket=account.bucket, Key="probe", Body=b"probe")
        client.delete_object(Bucket=account.bucket, Key="probe")


@cache
def _session() -> boto3.session.Session:
    """Return the session of all clients; each session loads the S3 service model for 0.3 s.

    Creating clients is not thread-safe, so they are created when a process starts.
    """
    return boto3.session.Session()


def client_of(
    account: S3Account, endpoint_url: str | None, *, attempts: int = 3, read_timeout_s: int = 60
) -> "S3Client":
    config = Config(
        signature_version="s3v4",
        connect_timeout=3,
        read_timeout=read_timeout_s,
        max_pool_connections=32,
        retries={"mode": "standard", "total_max_attempts": attempts},
        # Uploads state their checksum; a default one beside it would be signed into presigned URLs.
        request_checksum_calculation="when_required",
        # `verified` hashes all bytes that are read; botocore would hash them a second time.
        response_checksum_validation="when_required",
        # The checksum already binds the body; signing the body would hash it a second time.
        s3={"addressing_style": "path", "payload_signing_enabled": False},
    )
    return _session().client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key,
        region_name=account.region,
        config=config,
    )


@contextmanager
def store_errors(action: str) -> Iterator[None]:
    """Convert errors of the store, which no caller can have caused, to UnavailableError."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        reason = error_code(error) if isinstance(error, ClientError) else type(error).__name__
        message = f"The object store could not {action} ({reason}); try again shortly."
        raise UnavailableError(message) from error


def error_code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
