"""ZIP archives from untrusted sources: all members are checked before any is unpacked."""

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
_SMALL_BYTES: Final = 1 << 20  # up to this size, any compression ratio is fine
_CHUNK_BYTES: Final = 1 << 16
_ENCRYPTED: Final = 1


class InvalidArchiveError(ValueError):
    """The archive cannot be read, or reading it is unsafe; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Limits on the unpacked size in bytes: of one member, and of all members together."""

    member_bytes: int
    total_bytes: int


class Archive:
    """An archive whose members have distinct names and bounded sizes."""

    def __init__(self, file: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> None:
        self._file = file
        self._members = members

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def read(self, name: str) -> bytes:
        """Return a member's bytes, exactly as many as the directory states.

        Raises:
            InvalidArchiveError: The member is damaged, or its size differs from the directory's.
        """
        member = self._members[name]
        read = bytearray()
        try:
            with self._file.open(member) as content:
                # In chunks, so that no decompressor produces more than a chunk at a time.
                while chunk := content.read(_CHUNK_BYTES):
                    read += chunk
        except _READ_ERRORS as error:
            raise InvalidArchiveError(f"The member {name[:80]!r} is damaged.") from error
        if len(read) != member.file_size:
            raise InvalidArchiveError(f"The member {name[:80]!r} does not have its stated size.")
        return bytes(read)


_READ_ERRORS: Final = (
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
    """Yield an archive of which every member may be read.

    Raises:
        InvalidArchiveError: The file is not a ZIP archive, or a member's name, size, compression
            method or compression ratio is not acceptable.
    """
    content.seek(0)
    try:
        file = zipfile.ZipFile(cast("IO[bytes]", _BoundedFile(content)))
    except _READ_ERRORS as error:
        raise InvalidArchiveError("The file is not a readable ZIP archive.") from error
    with file:
        yield Archive(file, _checked(file.infolist(), limits))


def _checked(members: list[zipfile.ZipInfo], limits: ArchiveLimits) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    total_bytes = 0
    for member in members:
        name = member.orig_filename
        problem = _problem(member, limits)
        if problem is None and name in found:
            problem = "occurs twice"
        if problem is not None:
            raise InvalidArchiveError(f"The member {name[:80]!r} {problem}.")
        total_bytes += member.file_size
        if total_bytes > limits.total_bytes:
            raise InvalidArchiveError(f"It unpacks to more than {limits.total_bytes} bytes.")
        found[name] = member
    return found


def _problem(member: zipfile.ZipInfo, limits: ArchiveLimits) -> str | None:
    """Return why the directory's entry of a member is unacceptable, or None if it is not."""
    name = member.orig_filename
    rooted = name.startswith("/") or "\\" in name or ":" in name[:2] or "\0" in name
    if rooted or ".." in name.split("/"):
        return "has a name that is not a path inside the archive"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in _METHODS:
        return f"uses compression method {member.compress_type}, which is not supported"
    if member.file_size > limits.member_bytes:
        return f"unpacks to more than {limits.member_bytes} bytes"
    large = member.file_size > _SMALL_BYTES
    if large and member.file_size > _RATIO_LIMIT * max(member.compress_size, 1):
        return f"unpacks to more than {_RATIO_LIMIT} times its size"
    return None


class _BoundedFile:
    """A file that refuses large reads: zipfile reads the whole directory at once."""

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
