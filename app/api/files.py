"""The bytes of a version over HTTP: verified as they stream, whole or in part."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from typing import Annotated, Final

from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

from app.api.fields import Number, PrefixPath
from app.api.problems import refuses
from app.db.models import VersionFile
from app.deps import BlobsDep, Caller, SessionsDep
from app.domain.access import nothing_named
from app.domain.errors import (
    DamagedObjectError,
    NotFoundError,
    RangeNotSatisfiableError,
    VersionRevokedError,
)
from app.services.execution import require_not_revoked
from app.services.sight import seen_version
from app.storage.blobs import Blobs, verified

router = APIRouter(prefix="/prefixes/{namespace}/{name}/versions", tags=["versions"])

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@router.get(
    "/{number}/files/{file}",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        206: {"content": {"application/octet-stream": {}}, "description": "A part of the file."},
        304: {"description": "The client has these bytes."},
        **refuses(NotFoundError, VersionRevokedError, RangeNotSatisfiableError, DamagedObjectError),
    },
)
def download_file(
    prefix: PrefixPath,
    number: Number,
    file: str,
    sessions: SessionsDep,
    blobs: BlobsDep,
    caller: Caller,
    range_: Annotated[str | None, Header(alias="Range")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Download a file; its ETag is its SHA-256. A transfer of wrong bytes breaks off."""
    with sessions() as session:
        version = seen_version(session, caller, prefix, number)
    require_not_revoked(version)
    found = next((each for each in version.files if each.name == file), None)
    if found is None:
        raise nothing_named(f"file of version {number}", file[:80])
    etag = f'"{found.sha256}"'
    if if_none_match is not None and etag in if_none_match:
        return Response(status_code=304, headers={"ETag": etag})
    return _streamed(blobs, found, etag, range_)


def _streamed(blobs: Blobs, file: VersionFile, etag: str, range_: str | None) -> Response:
    span = _span(range_, file.size_bytes)
    part = span is not None
    span = span or range(file.size_bytes)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(len(span)),
        "Content-Disposition": f'attachment; filename="{file.name}"',
        "ETag": etag,
    }
    if part:
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{file.size_bytes}"
    content = _content(blobs, file.sha256, span)
    # The first chunk is read before the answer begins: a store that is away, and a small file
    # that is damaged, are then refusals rather than broken transfers.
    first = next(content, b"")
    return StreamingResponse(
        chain([first], content),
        status_code=206 if part else 200,
        headers=headers,
        media_type="application/octet-stream",
    )


def _content(blobs: Blobs, digest: str, span: range) -> Iterator[bytes]:
    with ExitStack() as stack:
        chunks = stack.enter_context(blobs.open(digest))
        yield from verified(chunks, digest, span)


def _span(header: str | None, size_bytes: int) -> range | None:
    """Return the offsets of a single-range request, None for the whole (RFC 9110, 14.2).

    Raises:
        RangeNotSatisfiableError: It asks for nothing that is there.
    """
    match = _RANGE.fullmatch(header) if header else None
    if match is None or match.group(1, 2) == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        span = range(max(size_bytes - int(last), 0), size_bytes)
    else:
        span = range(int(first), min(int(last) + 1 if last else size_bytes, size_bytes))
    if not span:
        message = f"The file has {size_bytes} bytes, and {header} lies outside of them."
        raise RangeNotSatisfiableError(message)
    return span
