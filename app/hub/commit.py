"""Reading the body of a commit: NDJSON, one JSON document per line, with files as base64.

The lines are parsed as they arrive, and each file is written to a spool, so a commit needs the
memory of one line.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from app.domain.errors import Fault, InvalidRequestError, MalformedRequestError, TooLargeError
from app.domain.strict_json import NotStrictJsonError, refused_constant, unique
from app.http.bodies import announced_bytes, note_body_digest
from app.services.artifacts.spooled_files import ReceivedFile, SpooledWriter

REGULAR_LIMIT_BYTES: Final = 16 << 20
"""Files up to this size are sent inside the commit; larger ones go to the store first, as Git LFS.

Each line of the body is decoded in memory, so this also bounds the memory that a commit needs.
"""

_FILES: Final = 4
# Not `read_object`, which would scan the base64 of a large file twice more.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=unique, parse_constant=refused_constant)
_LINE_LIMIT_BYTES: Final = REGULAR_LIMIT_BYTES * 3 // 2
_BODY_LIMIT_BYTES: Final = _FILES * _LINE_LIMIT_BYTES
_MOST_LINES: Final = 64
# A long line is a file: one string. Many values would need far more memory than their text.
_LONG_LINE_BYTES: Final = 1 << 16
_MOST_VALUES: Final = 64
_DECODED_CHARACTERS: Final = 1 << 20  # at a time; a multiple of four
_OID: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A file that was uploaded to the store before the commit; `oid` is its SHA-256 in hex."""

    oid: str
    size_bytes: int


@dataclass(slots=True)
class Commit:
    """The operations of a commit: added files by path, and deleted paths."""

    files: dict[str, ReceivedFile] = field(default_factory=dict)
    large: dict[str, LargeFile] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)


@asynccontextmanager
async def received_commit(request: Request) -> AsyncIterator[Commit]:
    """Yield the commit in the body; its files are closed on exit.

    Raises:
        TooLargeError: A line, or the body, exceeds the size of one or of a few regular files.
        InvalidRequestError: There are too many lines.
        MalformedRequestError: A line is not a JSON object of the expected form.
    """
    _require_body_size(announced_bytes(request))
    with ExitStack() as files:
        reader, hasher = _CommitReader(files), hashlib.sha256()
        size_bytes = 0
        async for chunk in request.stream():
            size_bytes += len(chunk)
            _require_body_size(size_bytes)
            hasher.update(chunk)
            await _feed(reader, chunk)
        await run_in_threadpool(reader.end)
        await note_body_digest(request, hasher.hexdigest())
        yield reader.operations


def _require_body_size(size_bytes: int) -> None:
    if size_bytes > _BODY_LIMIT_BYTES:
        raise TooLargeError(f"A commit may have at most {_BODY_LIMIT_BYTES} bytes.")


async def _feed(reader: "_CommitReader", chunk: bytes) -> None:
    """Add a part of the body; a thread parses the lines that end in it."""
    *ended, rest = chunk.split(b"\n", _MOST_LINES + 1)
    for part in ended:
        reader.add(part)
        await run_in_threadpool(reader.end_line)
    reader.add(rest)


class _CommitReader:
    """Collects one line at a time, and the operations of all lines."""

    def __init__(self, files: ExitStack) -> None:
        self.operations = Commit()
        self._files = files
        self._line = bytearray()
        self._lines = 0
        self._seen: set[str] = set()

    def add(self, part: bytes) -> None:
        if len(self._line) + len(part) > _LINE_LIMIT_BYTES:
            raise TooLargeError(
                f"A line of a commit may have at most {_LINE_LIMIT_BYTES} bytes. Send files above "
                f"{REGULAR_LIMIT_BYTES} bytes as Git LFS."
            )
        self._line += part

    def end_line(self) -> None:
        """Apply the line that is complete; blank ones count, but mean nothing."""
        self._lines += 1
        line, self._line = self._line, bytearray()
        if self._lines > _MOST_LINES:
            message = f"A commit may have at most {_MOST_LINES} lines."
            raise InvalidRequestError(message, [Fault("too-many-lines", message)])
        if not line.strip():
            return
        key, value = _document(line)
        del line
        try:
            self._require_new(key, value)
            self._apply(key, value)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            message = f"Line {self._lines} of the commit, {str(key)[:40]!r}, is malformed."
            raise MalformedRequestError(message) from error

    def end(self) -> None:
        """Apply the last line, if nothing ended it."""
        if self._line:
            self.end_line()

    def _require_new(self, key: str, value: dict[str, str]) -> None:
        """Refuse a second header or operation on one path: clients differ in which counts."""
        operation = f"the path {_path(value)[:80]!r}" if key != "header" else "a header"
        if operation in self._seen:
            message = f"The commit has {operation} more than once; send it once."
            raise MalformedRequestError(message)
        self._seen.add(operation)

    def _apply(self, key: str, value: dict[str, str]) -> None:
        commit = self.operations
        if key == "file":
            commit.files[_path(value)] = self._decoded(value["content"])
        elif key == "lfsFile":
            if not _OID.fullmatch(value["oid"]):
                raise ValueError("not a digest")
            commit.large[_path(value)] = LargeFile(value["oid"], int(value["size"]))
        elif key in ("deletedFile", "deletedFolder"):
            commit.deleted.append(_path(value))

    def _decoded(self, content: str) -> ReceivedFile:
        if 0 <= content.find("=") < len(content) - 2:
            raise ValueError("not base64: padding within the text")
        spool = SpooledWriter(self._files)
        for start in range(0, len(content), _DECODED_CHARACTERS):
            part = content[start : start + _DECODED_CHARACTERS]
            try:
                spool.write(base64.b64decode(part, validate=True))
            except binascii.Error as error:
                raise ValueError("not base64") from error
        return spool.finished()


def _path(value: dict[str, str]) -> str:
    path = value["path"]
    if not path.isprintable():
        raise ValueError("not a path")
    return path


def _document(line: bytearray) -> tuple[str, dict[str, str]]:
    message = "The commit is not NDJSON with `key` and `value` on each line."
    if len(line) > _LONG_LINE_BYTES and sum(map(line.count, b",[{")) > _MOST_VALUES:
        raise MalformedRequestError(message)
    try:
        document = _DECODER.decode(line.decode())
        return document["key"], document["value"]
    except NotStrictJsonError as error:
        raise MalformedRequestError(f"A line of the commit is refused: {error}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedRequestError(message) from error
