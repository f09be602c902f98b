"""Sending a stored file over HTTP: whole or in part, verified as it streams."""

import logging
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from typing import Final

from fastapi import Response
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from app.db.models import EvaluationFile, Version, VersionFile
from app.domain.artifacts.manifest import WEIGHTS_FILE, ArtifactFile
from app.domain.artifacts.pulls import PullWay
from app.domain.errors import DamagedObjectError, RangeNotSatisfiableError
from app.domain.identity.access import Caller
from app.http.deps import Parts
from app.http.metrics import DAMAGED_OBJECTS
from app.services.artifacts import blob_damage
from app.storage.blobs import verified

_log = logging.getLogger(__name__)

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def send_file(
    parts: Parts,
    file: VersionFile | EvaluationFile | ArtifactFile,
    *,
    range_header: str | None,
    headers: Mapping[str, str],
) -> Response:
    """Return the bytes of `file`, or the range that a Range header requests.

    Raises:
        RangeNotSatisfiableError: The range lies outside the file.
        DamagedObjectError: The bytes are missing, or a file of a single chunk does not match its
            digest. The transfer of a larger damaged file is aborted instead.
        UnavailableError: The object store does not respond.
    """
    part = _span(range_header, file.size_bytes)
    span = part or range(file.size_bytes)
    response_headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(len(span)),
        "Content-Disposition": f'attachment; filename="{file.name}"',
        **headers,
    }
    if part:
        content_range = f"bytes {part.start}-{part.stop - 1}/{file.size_bytes}"
        response_headers["Content-Range"] = content_range
    content = _content(parts, file.sha256, span)
    # Read the first chunk before the response starts, so that an unavailable store or a small
    # damaged file becomes a refusal rather than an aborted transfer.
    first = next(content, b"")
    return StreamingResponse(
        _chunks(first, content),
        status_code=206 if part else 200,
        headers=response_headers,
        media_type="application/octet-stream",
    )


def note_download(
    parts: Parts,
    version: Version,
    file: VersionFile,
    caller: Caller,
    range_header: str | None,
    now: datetime,
) -> None:
    """Count a pull of the version if the request reads its weights from the first byte.

    Clients that resume or split a transfer are thus counted once.
    """
    requested = _RANGE.fullmatch(range_header or "")
    if file.name == WEIGHTS_FILE and (requested is None or requested.group(1) == "0"):
        parts.pulls.note(version.id, caller, PullWay.DOWNLOAD, now)


async def _chunks(first: bytes, rest: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield all chunks; a thread reads each of them once the one before is sent.

    Reading ahead would gain little, as the sockets' buffers bridge the pauses, and would hold one
    chunk more for each client that does not read.
    """
    chunk: bytes | None = first
    while chunk is not None:
        yield chunk
        chunk = None  # not in memory while the next one is read
        chunk = await run_in_threadpool(next, rest, None)


def _content(parts: Parts, digest: str, span: range) -> Iterator[bytes]:
    """Yield verified bytes; while none was sent, a bad read is repeated once.

    Only what two reads found marks an object as damaged, and a right read removes the mark.
    """
    is_marked = blob_damage.is_marked(parts.sessions, digest)
    has_begun = False
    for is_repeated in (False, True):
        try:
            with parts.blobs.open(digest) as chunks:
                for piece in verified(chunks, digest, span):
                    has_begun = True
                    yield piece
            break
        except DamagedObjectError as error:
            if is_repeated or has_begun:
                _note_damage(parts, digest, error, is_certain=is_repeated)
                raise
    if is_marked:
        _unmark(parts, digest)


def _note_damage(parts: Parts, digest: str, error: DamagedObjectError, *, is_certain: bool) -> None:
    DAMAGED_OBJECTS.inc()
    _log.error("damaged object: %s", error.detail)
    if is_certain or blob_damage.damage_of(parts.blobs, digest) is not None:
        blob_damage.mark(parts.sessions, digest=digest, problem=error.detail)


def _unmark(parts: Parts, digest: str) -> None:
    try:
        blob_damage.unmark(parts.sessions, digest=digest)
    except SQLAlchemyError as error:  # the next read removes the mark
        _log.warning("a damage mark was not removed: %s", type(error).__name__)


def _span(header: str | None, size_bytes: int) -> range | None:
    """Return the offsets of a single-range request, or None for the whole file (RFC 9110, 14.2).

    Raises:
        RangeNotSatisfiableError: The range lies outside the file.
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
        message = f"The file has {size_bytes} bytes; {header} lies outside the file."
        raise RangeNotSatisfiableError(message, size_bytes=size_bytes)
    return span
