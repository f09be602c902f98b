"""Reading the body of a commit: NDJSON, one JSON document per line, with files as base64."""

import base64
import binascii
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO, Final

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from app.domain.errors import MalformedRequestError, TooLargeError
from app.domain.strict_json import NotStrictJsonError, refused_constant, unique
from app.http.bodies import note_body_digest
from app.services.artifacts.spooled_files import ReceivedFile

REGULAR_LIMIT_BYTES: Final = 16 << 20
"""Files up to this size are sent inside the commit; larger ones go to the store first, as Git LFS.

Each line of the body is decoded in memory, so this also bounds the memory that a commit needs.
"""

_FILES: Final = 4
# Not `read_object`, which would scan the base64 of a large file twice more.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=unique, parse_constant=refused_constant)
_BODY_LIMIT_BYTES: Final = _FILES * REGULAR_LIMIT_BYTES * 3 // 2
_SPOOL_BYTES: Final = 1 << 20


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
async def received_body(request: Request) -> AsyncIterator[IO[bytes]]:
    """Yield the body in a spooled file.

    Raises:
        TooLargeError: The body exceeds the size of a few regular files.
    """
    with SpooledTemporaryFile(max_size=_SPOOL_BYTES) as file:
        size_bytes, hasher = 0, hashlib.sha256()
        async for chunk in request.stream():
            size_bytes += len(chunk)
            if size_bytes > _BODY_LIMIT_BYTES:
                raise TooLargeError(f"A commit may have at most {_BODY_LIMIT_BYTES} bytes.")
            hasher.update(chunk)
            await run_in_threadpool(file.write, chunk)
        await note_body_digest(request, hasher.hexdigest())
        file.seek(0)
        yield file


def parse_commit(body: IO[bytes]) -> Commit:
    """Parse the lines of a commit.

    Raises:
        MalformedRequestError: A line is not a JSON object of the expected form.
    """
    commit = Commit()
    seen: set[str] = set()
    for number, (key, value) in enumerate(_lines(body), start=1):
        try:
            _require_new(seen, key, value)
            _apply(commit, key, value)
        except (KeyError, TypeError, ValueError) as error:
            message = f"Line {number} of the commit, {key!r}, is malformed."
            raise MalformedRequestError(message) from error
    return commit


def _lines(body: IO[bytes]) -> Iterator[tuple[str, dict[str, str]]]:
    for line in body:
        if not line.strip():
            continue
        try:
            document = _DECODER.decode(line.decode("utf-8"))
            yield document["key"], document["value"]
        except NotStrictJsonError as error:
            raise MalformedRequestError(f"A line of the commit is refused: {error}.") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            message = "The commit is not NDJSON with `key` and `value` on each line."
            raise MalformedRequestError(message) from error


def _require_new(seen: set[str], key: str, value: dict[str, str]) -> None:
    """Refuse a second header or a second operation on one path: clients differ in which counts."""
    operation = f"the path {value['path'][:80]!r}" if key != "header" else "a header"
    if operation in seen:
        raise MalformedRequestError(f"The commit has {operation} more than once; send it once.")
    seen.add(operation)


def _apply(commit: Commit, key: str, value: dict[str, str]) -> None:
    if key == "file":
        content = _decoded(value["content"])
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        commit.files[value["path"]] = ReceivedFile(BytesIO(content), digest, len(content))
    elif key == "lfsFile":
        commit.large[value["path"]] = LargeFile(value["oid"], int(value["size"]))
    elif key in ("deletedFile", "deletedFolder"):
        commit.deleted.append(value["path"])


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
