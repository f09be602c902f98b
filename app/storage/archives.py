"""ZIP archives from strangers: every member named and bounded before any of it is unpacked."""

import struct
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, Final, cast

# Inspect compresses with Zstandard, which the standard library reads from Python 3.14.
if sys.version_info >= (3, 14):
    import zipfile

    from compression.zstd import ZstdError
else:
    from backports.zstd import ZstdError, zipfile

_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_ZSTANDARD)
_DIRECTORY_LIMIT_BYTES: Final = 16 << 20
_RATIO_LIMIT: Final = 1000
_SMALL_BYTES: Final = 1 << 20  # a member as small as this may be as repetitive as it likes
_CHUNK_BYTES: Final = 1 << 16
_ENCRYPTED: Final = 1


class InvalidArchiveError(ValueError):
    """The archive cannot be read, or is not safe to; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What may be unpacked, in bytes: of one member, and of all together."""

    member_bytes: int
    total_bytes: int


class Archive:
    """An archive whose members are named apart and bounded in size."""

    def __init__(self, file: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> None:
        self._file = file
        self._members = members

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def read(self, name: str) -> bytes:
        """Return a member's bytes, as many as the directory says.

        Raises:
            InvalidArchiveError: It is damaged, or not as large as the directory says.
        """
        member = self._members[name]
        read = bytearray()
        try:
            with self._file.open(member) as content:
                # In pieces, so that no decompressor is asked for more than it should make.
                while chunk := content.read(_CHUNK_BYTES):
                    read += chunk
        except _DAMAGES as error:
            raise InvalidArchiveError(f"The member {name[:80]!r} is damaged.") from error
        if len(read) != member.file_size:
            raise InvalidArchiveError(f"The member {name[:80]!r} is not as large as announced.")
        return bytes(read)


_DAMAGES: Final = (
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    ZstdError,
)


@contextmanager
def opened_archive(content: BinaryIO, limits: ArchiveLimits) -> Iterator[Archive]:
    """Yield an archive all of whose members may be read.

    Raises:
        InvalidArchiveError: It is no ZIP, or a member's name, size, compression or repetition
            is not acceptable.
    """
    content.seek(0)
    try:
        file = zipfile.ZipFile(cast("IO[bytes]", _Guarded(content)))
    except _DAMAGES as error:
        raise InvalidArchiveError("It is no ZIP archive that can be read.") from error
    with file:
        yield Archive(file, _checked(file.infolist(), limits))


def _checked(members: list[zipfile.ZipInfo], limits: ArchiveLimits) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    total_bytes = 0
    for member in members:
        name = member.orig_filename
        problem = _problem(member, limits)
        if problem is None and name in found:
            problem = "comes twice"
        if problem is not None:
            raise InvalidArchiveError(f"The member {name[:80]!r} {problem}.")
        total_bytes += member.file_size
        if total_bytes > limits.total_bytes:
            raise InvalidArchiveError(f"It unpacks to more than {limits.total_bytes} bytes.")
        found[name] = member
    return found


def _problem(member: zipfile.ZipInfo, limits: ArchiveLimits) -> str | None:
    """Return what is wrong with a member, by what the directory says of it."""
    name = member.orig_filename
    rooted = name.startswith("/") or "\\" in name or ":" in name[:2] or "\0" in name
    if rooted or ".." in name.split("/"):
        return "has a name that is no path within the archive"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in _METHODS:
        return f"is compressed by method {member.compress_type}, which is not read here"
    if member.file_size > limits.member_bytes:
        return f"unpacks to more than {limits.member_bytes} bytes"
    large = member.file_size > _SMALL_BYTES
    if large and member.file_size > _RATIO_LIMIT * max(member.compress_size, 1):
        return f"unpacks to more than {_RATIO_LIMIT} times its size"
    return None


class _Guarded:
    """A file of which no single read is large: zipfile reads a whole directory at once."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self.seek = content.seek
        self.tell = content.tell

    def read(self, size: int = -1) -> bytes:
        found = self._content.read(
            _DIRECTORY_LIMIT_BYTES + 1 if size < 0 else min(size, _DIRECTORY_LIMIT_BYTES + 1)
        )
        if len(found) > _DIRECTORY_LIMIT_BYTES:
            message = f"The archive's directory exceeds {_DIRECTORY_LIMIT_BYTES} bytes."
            raise OSError(message)
        return found

    def seekable(self) -> bool:
        return True
