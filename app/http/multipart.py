"""Receiving multipart bodies: parts are spooled to files and hashed as they arrive.

Starlette's form parser reads the whole body before a dependency can refuse the caller, computes
no digest and has no limit per file. This one runs after authentication.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from email.message import Message
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
from app.http.bodies import (
    OVERHEAD_BYTES,
    BodyModel,
    announced_bytes,
    note_body_digest,
    parsed,
    require_size,
)
from app.services.artifacts.spooled_files import ReceivedFile, SpooledWriter

_BATCH_BYTES: Final = 1 << 20
_MOST_FAULTS: Final = 32  # reported at once; at this number, parsing stops


@asynccontextmanager
async def received_parts(
    request: Request, limits: Mapping[str, int]
) -> AsyncIterator[dict[str, ReceivedFile]]:
    """Yield the parts named in `limits`. Each must occur once, within its limit in bytes.

    Raises:
        UnsupportedMediaTypeError: The body is not multipart/form-data.
        MalformedRequestError: The body is incomplete or malformed.
        TooLargeError: A part or the body exceeds its limit.
        InvalidRequestError: Parts are missing, repeated or unknown; the faults name them all.
    """
    async with received_lists(request, limits, most={}) as lists:
        yield {name: parts[0] for name, parts in lists.items()}


@asynccontextmanager
async def received_lists(
    request: Request, limits: Mapping[str, int], *, most: Mapping[str, int]
) -> AsyncIterator[dict[str, list[ReceivedFile]]]:
    """Yield lists of parts by name, like `received_parts`; `most` allows some names to repeat.

    A name's limit applies to each of its parts. The limit of the body is the sum of the limits,
    counting each name once. The spooled files are closed, and thereby deleted, on exit.
    """
    boundary = _boundary(request)
    allowed_bytes = sum(limits.values()) + OVERHEAD_BYTES
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
        # Not the digest of the raw body: a retry contains another boundary.
        await note_body_digest(
            request, {name: [part.sha256 for part in found] for name, found in parts.items()}
        )
        yield parts


def parsed_part(
    model: type[BodyModel], parts: Mapping[str, ReceivedFile], name: str, *, finite: bool = True
) -> BodyModel:
    """Return the JSON object of a part as a request model, or raise as `parsed` does."""
    return parsed(model, parts[name].content.read(), named=f"The part {name}", finite=finite)


@asynccontextmanager
async def _fed(receiver: "_Receiver") -> AsyncIterator[Callable[[bytearray], Awaitable[None]]]:
    """Yield a function that feeds the receiver in a thread while the next batch arrives."""
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
        # The caller closes the files next, so no thread may still be writing to them.
        with CancelScope(shield=True):
            await asyncio.gather(feeding, return_exceptions=True)


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise UnsupportedMediaTypeError("Send the request as multipart/form-data.")
    return options[b"boundary"]


def _single_options(dispositions: list[bytes]) -> dict[bytes, bytes]:
    """Return the options of a part's Content-Disposition; parsers differ in which of two they take.

    Raises:
        MalformedRequestError: The header, or one of its options, is repeated.
    """
    header = Message()
    header["content-type"] = b"".join(dispositions).decode("latin-1")
    names = [name.lower().partition("*")[0] for name, _ in header.get_params(failobj=[])]
    if len(dispositions) > 1 or len(set(names)) < len(names):
        message = "A part of the multipart body has its name or file name more than once."
        raise MalformedRequestError(message)
    _, options = parse_options_header(b"".join(dispositions))
    return options


class _Part:
    """A part that is being received."""

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
    """Drives python-multipart's push parser and collects parts and faults from its callbacks."""

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
        self._field, self._value = b"", b""
        self._dispositions: list[bytes] = []
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
            raise MalformedRequestError("The multipart boundary is not valid.") from error

    def feed(self, batch: bytearray) -> None:
        try:
            self._parser.write(bytes(batch))
        except FormParserError as error:
            message = "The multipart body is malformed; use an HTTP library to write it."
            raise MalformedRequestError(message) from error

    def finish(self) -> dict[str, list[ReceivedFile]]:
        if not self._complete:
            raise MalformedRequestError("The multipart body ends before its last boundary.")
        missing = [name for name in self._limits if name not in self._parts]
        self._faults += [Fault("missing", f"The part {name} is missing.") for name in missing]
        if self._faults:
            raise self._refusal()
        return {name: [part.finished() for part in parts] for name, parts in self._parts.items()}

    def _refusal(self) -> InvalidRequestError:
        message = "The parts differ from those expected; see faults."
        return InvalidRequestError(message, self._faults)

    def _begin_part(self) -> None:
        self._dispositions = []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._dispositions.append(self._value)
        self._field, self._value = b"", b""

    def _open_part(self) -> None:
        options = _single_options(self._dispositions)
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
            self._faults.append(Fault("repeated-part", f"The part {name} occurs {often}."))
        else:
            self._current = _Part(name, file_name, self._limits[name], self._files)
            self._parts.setdefault(name, []).append(self._current)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current.write(memoryview(data)[start:end])

    def _end(self) -> None:
        self._complete = True
