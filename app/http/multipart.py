"""Receiving multipart bodies: parts go to spooled files and are hashed as they arrive.

Starlette's form parser would read the whole body before a dependency can refuse the caller,
keeps no digest and knows no limit per file; this one runs after authentication.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Final

from anyio import CancelScope
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.domain.errors import (
    Fault,
    InvalidRequestError,
    MalformedRequestError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from app.http.bodies import announced_bytes, note_received, require_size
from app.services.artifacts.spooled_files import ReceivedFile, SpooledWriter

_BATCH_BYTES: Final = 1 << 20
_OVERHEAD_BYTES: Final = 1 << 16  # boundaries and part headers
_MOST_FAULTS: Final = 32  # told at once; a client that sends more of them is not listened to


@asynccontextmanager
async def received_parts(
    request: Request, limits: Mapping[str, int]
) -> AsyncIterator[dict[str, ReceivedFile]]:
    """Yield the parts named in `limits`, each of at most so many bytes; all must be there once.

    Raises:
        UnsupportedMediaTypeError: The body is not multipart/form-data.
        MalformedRequestError: It breaks off, or is not well-formed.
        TooLargeError: A part or the body exceeds its limit.
        InvalidRequestError: Parts are missing, repeated or unknown; all of them are named.
    """
    async with received_lists(request, limits, most={}) as lists:
        yield {name: parts[0] for name, parts in lists.items()}


@asynccontextmanager
async def received_lists(
    request: Request, limits: Mapping[str, int], *, most: Mapping[str, int]
) -> AsyncIterator[dict[str, list[ReceivedFile]]]:
    """Yield the parts by name, like `received_parts`; those named in `most` come up to so often.

    A name's limit is for each of its parts; the body's is the sum of the limits all the same.
    The files are closed at the end, so what nobody stored leaves nothing behind.
    """
    boundary = _boundary(request)
    allowed_bytes = sum(limits.values()) + _OVERHEAD_BYTES
    require_size(announced_bytes(request), allowed_bytes)
    with ExitStack() as files:
        receiver = _Receiver(boundary, limits, most, files)
        async with _fed(receiver) as feed:
            batch, size_bytes = bytearray(), 0
            async for chunk in request.stream():
                size_bytes += len(chunk)
                require_size(size_bytes, allowed_bytes)
                batch += chunk
                if len(batch) >= _BATCH_BYTES:
                    await feed(batch)
                    batch = bytearray()
            await feed(batch)
        parts = receiver.finish()
        # Not the raw body: whoever sends it again has another boundary in it.
        await note_received(
            request, {name: [part.sha256 for part in found] for name, found in parts.items()}
        )
        yield parts


@asynccontextmanager
async def _fed(receiver: "_Receiver") -> AsyncIterator[Callable[[bytearray], Awaitable[None]]]:
    """Yield what feeds a receiver in a thread, one batch while the next one arrives."""
    feeding = asyncio.get_running_loop().create_future()
    feeding.set_result(None)

    async def feed(batch: bytearray) -> None:
        nonlocal feeding
        await asyncio.shield(feeding)
        feeding = asyncio.ensure_future(run_in_threadpool(receiver.feed, batch))

    try:
        yield feed
        await asyncio.shield(feeding)
    finally:
        # Its files are closed next; no thread may be writing to them then.
        with CancelScope(shield=True):
            await asyncio.gather(feeding, return_exceptions=True)


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise UnsupportedMediaTypeError("Send the request as multipart/form-data.")
    return options[b"boundary"]


class _Part:
    """A part that is arriving."""

    def __init__(self, name: str, file_name: str, limit_bytes: int, files: ExitStack) -> None:
        self._name = name
        self._file_name = file_name
        self._limit_bytes = limit_bytes
        self._spool = SpooledWriter(files)

    def write(self, data: memoryview) -> None:
        if self._spool.size_bytes + len(data) > self._limit_bytes:
            message = f"The part {self._name} exceeds the {self._limit_bytes} bytes allowed."
            raise TooLargeError(message)
        self._spool.write(data)

    def finished(self) -> ReceivedFile:
        return self._spool.finished(self._file_name)


class _Receiver:
    """Drives python-multipart's push parser and sorts what it calls back with."""

    def __init__(
        self,
        boundary: bytes,
        limits: Mapping[str, int],
        most: Mapping[str, int],
        files: ExitStack,
    ) -> None:
        self._limits = limits
        self._most = most
        self._files = files
        self._parts: dict[str, list[_Part]] = {}
        self._faults: list[Fault] = []
        self._current: _Part | None = None
        self._field, self._value, self._disposition = b"", b"", b""
        self._complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._open_part,
                    "on_part_data": self._part_data,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise MalformedRequestError("The multipart boundary is not acceptable.") from error

    def feed(self, batch: bytearray) -> None:
        try:
            self._parser.write(bytes(batch))
        except FormParserError as error:
            message = "The multipart body is malformed; let an HTTP library write it."
            raise MalformedRequestError(message) from error

    def finish(self) -> dict[str, list[ReceivedFile]]:
        if not self._complete:
            raise MalformedRequestError("The multipart body breaks off before its last boundary.")
        missing = [name for name in self._limits if name not in self._parts]
        self._faults += [Fault("missing", f"The part {name} is missing.") for name in missing]
        if self._faults:
            raise self._refusal()
        return {name: [part.finished() for part in parts] for name, parts in self._parts.items()}

    def _refusal(self) -> InvalidRequestError:
        return InvalidRequestError("The parts are not those expected; see faults.", self._faults)

    def _begin_part(self) -> None:
        self._disposition = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field, self._value = b"", b""

    def _open_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        file_name = options.get(b"filename", b"").decode("utf-8", "replace")
        self._current = None
        if len(self._faults) >= _MOST_FAULTS:
            raise self._refusal()
        if name not in self._limits:
            known = ", ".join(self._limits)
            message = f"There is no part {name[:80]!r}; send {known}."
            self._faults.append(Fault("unknown-part", message))
        elif len(self._parts.get(name, [])) >= (most := self._most.get(name, 1)):
            often = "twice" if most == 1 else f"more than {most} times"
            self._faults.append(Fault("repeated-part", f"The part {name} comes {often}."))
        else:
            self._current = _Part(name, file_name, self._limits[name], self._files)
            self._parts.setdefault(name, []).append(self._current)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current.write(memoryview(data)[start:end])

    def _end(self) -> None:
        self._complete = True
