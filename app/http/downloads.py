"""Sending a stored file over HTTP: whole or in part, verified as it streams."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from typing import Final

from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from app.db.models import EvaluationFile, Version, VersionFile
from app.domain.artifacts.manifest import WEIGHTS_FILE
from app.domain.artifacts.pulls import PullWay
from app.domain.errors import DamagedObjectError, RangeNotSatisfiableError
from app.domain.identity.access import Caller
from app.http.deps import Parts, clock
from app.http.metrics import DAMAGED_OBJECTS
from app.services.artifacts import blob_damage
from app.storage.blobs import verified

_log = logging.getLogger(__name__)

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def send_file(
    parts: Parts,
    file: VersionFile | EvaluationFile,
    *,
    range_header: str | None,
    headers: Mapping[str, str],
) -> Response:
    """Return the bytes of `file`, or the part that a Range header asks for.

    Raises:
        RangeNotSatisfiableError: The header asks for nothing that is there.
        DamagedObjectError: The bytes are missing, or are few and not those of their digest. A
            larger file that is damaged breaks off instead of ending well.
        UnavailableError: The store does not answer.
    """
    part = _span(range_header, file.size_bytes)
    span = part or range(file.size_bytes)
    sent = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(len(span)),
        "Content-Disposition": f'attachment; filename="{file.name}"',
        **headers,
    }
    if part:
        sent["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.size_bytes}"
    content = _content(parts, file.sha256, span)
    # The first chunk is read before the answer begins: a store that is away, and a small file
    # that is damaged, are then refusals rather than broken transfers.
    first = next(content, b"")
    return StreamingResponse(
        _read_ahead(first, content),
        status_code=206 if part else 200,
        headers=sent,
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
    """Count a pull of the version: its weights, from their first byte on, once per transfer."""
    resumed = _RANGE.fullmatch(range_header or "")
    if file.name == WEIGHTS_FILE and (resumed is None or resumed.group(1) == "0"):
        parts.pulls.note(version.id, caller, PullWay.DOWNLOAD, now)


async def _read_ahead(first: bytes, rest: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield all chunks, each while a thread reads the next one."""
    chunk: bytes | None = first
    while chunk is not None:
        upcoming = asyncio.ensure_future(run_in_threadpool(next, rest, None))
        yield chunk
        chunk = await upcoming


def _content(parts: Parts, digest: str, span: range) -> Iterator[bytes]:
    try:
        with parts.blobs.open(digest) as chunks:
            yield from verified(chunks, digest, span)
    except DamagedObjectError as error:
        DAMAGED_OBJECTS.inc()
        _log.error("damaged object: %s", error.detail)
        blob_damage.mark(parts.sessions, digest=digest, problem=error.detail, now=clock())
        raise


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
        raise RangeNotSatisfiableError(message, size_bytes=size_bytes)
    return span
