"""Clients of an S3-compatible store, their deadlines, and their errors as refusals."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import boto3  # noqa: TID251 - this is the module
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from app.domain.errors import UnavailableError
from app.storage.s3_deadlines import READS, Bulkhead, Deadline, enforce_on, within

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3.client import S3Client

T = TypeVar("T")

CHUNK_BYTES: Final = 1 << 18
ABSENT: Final = {"NoSuchKey", "404", "NotFound"}

_CONNECT_S: Final = 3
# Of a socket; the deadline of a call ends sooner where it is repeated or drips in.
_READ_S: Final = 10


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


@cache
def _session() -> boto3.session.Session:
    """Return the session of all clients; each session loads the S3 service model for 0.3 s.

    Creating clients is not thread-safe, so they are created when a process starts.
    """
    return boto3.session.Session()


def client_of(account: S3Account, endpoint_url: str | None, *, attempts: int = 2) -> "S3Client":
    config = Config(
        signature_version="s3v4",
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        max_pool_connections=32,
        retries={"mode": "standard", "total_max_attempts": attempts},
        # Uploads state their checksum; a default one beside it would be signed into presigned URLs.
        request_checksum_calculation="when_required",
        # `verified` hashes all bytes that are read; botocore would hash them a second time.
        response_checksum_validation="when_required",
        # The checksum already binds the body; signing the body would hash it a second time.
        s3={"addressing_style": "path", "payload_signing_enabled": False},
    )
    client = _session().client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key,
        region_name=account.region,
        config=config,
    )
    client.meta.events.register_last("before-parameter-build.s3", _forbid_redirects)
    enforce_on(client)
    return client


def _forbid_redirects(context: dict[str, Any], **_: object) -> None:
    """Let botocore report a redirect: it would ask for the bucket's region, without end."""
    context.setdefault("s3_redirect", {})["redirected"] = True


@contextmanager
def store_call(
    action: str, limit_s: float | None = None, bulkhead: Bulkhead = READS
) -> Iterator[Deadline]:
    """Run one call of the store under a deadline; its errors become UnavailableError."""
    with store_errors(action), within(limit_s, bulkhead) as deadline:
        yield deadline


@contextmanager
def store_errors(action: str) -> Iterator[None]:
    """Convert errors of the store, which no caller can have caused, to UnavailableError."""
    try:
        yield
    except (BotoCoreError, ClientError, ResponseParserError, LookupError, ValueError) as error:
        # The last two are of a response that lacks what it must have, or has it in another form.
        reason = error_code(error) if isinstance(error, ClientError) else type(error).__name__
        message = f"The object store could not {action} ({reason}); try again shortly."
        raise UnavailableError(message) from error


def error_code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def chunks_of(body: "StreamingBody", deadline: Deadline) -> Iterator[bytes]:
    """Yield a body in chunks; each must arrive within the deadline, however long the reader takes.

    Raises:
        UnavailableError: A chunk did not arrive in time, or the body ended early.
    """
    while True:
        with store_errors("read an object"), deadline.running():
            chunk = body.read(CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


def pages_of(listing: Iterable[T]) -> Iterator[T]:
    """Yield the pages of a listing, each of which is one call of the store."""
    pages = iter(listing)
    while True:
        with store_call("list its objects"):
            page = next(pages, None)
        if page is None:
            return
        yield page
