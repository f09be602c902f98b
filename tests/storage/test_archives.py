"""Untrusted archives: the members that are read, and refusals before anything is unpacked."""

import io
import struct
import zipfile
from contextlib import contextmanager

import pytest

from app.storage.archives import (
    _DIRECTORY_LIMIT_BYTES,
    ArchiveLimits,
    InvalidArchiveError,
    opened_archive,
)
from tests.support.imported import INSPECT

LIMITS = ArchiveLimits(member_bytes=4 << 20, total_bytes=8 << 20)


def an_archive(*members, method=zipfile.ZIP_DEFLATED):
    """Return an archive of (name, content) pairs; the names are not checked."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


@contextmanager
def opened(data, limits=LIMITS):
    with opened_archive(io.BytesIO(data), limits) as archive:
        yield archive


def read_all(data, limits):
    with opened(data, limits) as archive:
        for name in archive.names:
            archive.read(name)


def problem(data, limits=LIMITS):
    """Return why an archive is refused, when it is opened or when its members are read."""
    with pytest.raises(InvalidArchiveError) as refusal:
        read_all(data, limits)
    return str(refusal.value)


def test_members_that_zstandard_compressed_are_read():
    with opened((INSPECT / "full.eval").read_bytes()) as archive:
        assert archive.read("header.json").startswith(b"{")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_completely(method):
    content = bytes(range(256)) * 1000
    with opened(an_archive(("a/b.json", content), ("c", b""), method=method)) as archive:
        assert archive.names == ["a/b.json", "c"]
        assert (archive.read("a/b.json"), archive.read("c")) == (content, b"")


@pytest.mark.parametrize("name", ["/etc/passwd", "../a", "a/../../b", "..", "a\\b", "c:/a", "a\0b"])
def test_a_name_that_leads_outside_the_archive_is_refused(name):
    data = an_archive(("x" * len(name), b"")).replace(b"x" * len(name), name.encode())
    assert "not a path inside the archive" in problem(data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused():
    assert "occurs twice" in problem(an_archive(("a", b"1"), ("a", b"2")))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_methods_are_refused(method):
    assert "not supported" in problem(an_archive(("a", b"1"), method=method))


def test_a_large_member_is_refused():
    data = an_archive(("a", bytes(range(256)) * (5 << 12)), method=zipfile.ZIP_STORED)
    assert "more than 4194304 bytes" in problem(data)


def test_many_members_that_are_large_together_are_refused():
    content = bytes(range(256)) * (3 << 12)
    members = [(str(number), content) for number in range(3)]
    assert "more than 8388608 bytes" in problem(an_archive(*members, method=zipfile.ZIP_STORED))


def test_a_member_that_expands_a_thousandfold_is_refused():
    data = an_archive(("a", bytes(3 << 20)))
    assert "1000 times" in problem(data)
    with opened(an_archive(("a", bytes(1 << 20)))) as archive:
        assert len(archive.read("a")) == 1 << 20


@pytest.mark.parametrize("stated", [10, 3000], ids=["fewer", "more"])
def test_a_member_that_does_not_have_its_stated_size_is_refused(stated):
    """No more bytes than stated are unpacked, however many the member really holds."""
    size = 2_000_000
    data = bytearray(an_archive(("a", b"ab" * (size // 2))))
    sizes = [at for at in range(len(data)) if data[at : at + 4] == struct.pack("<L", size)]
    for at in sizes:
        data[at : at + 4] = struct.pack("<L", stated)
    assert "damaged" in problem(bytes(data))


def test_a_member_that_ends_early_is_refused():
    data = bytearray(an_archive(("a", b"abc")))
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<L", 2000)
    assert "not have its stated size" in problem(bytes(data))


def test_an_encrypted_member_is_refused():
    data = bytearray(an_archive(("a", b"1")))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in problem(bytes(data))


def test_a_flipped_byte_is_found():
    data = bytearray(an_archive(("a", b"abcdefgh"), method=zipfile.ZIP_STORED))
    data[data.index(b"abcdefgh")] ^= 1
    assert "damaged" in problem(bytes(data))


def test_a_directory_that_would_exhaust_the_memory_is_not_read():
    """The library reads the whole directory at once, and creates an object for every entry."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(_DIRECTORY_LIMIT_BYTES // 60_000 + 1):
            member = zipfile.ZipInfo(str(number))
            member.comment = bytes(60_000)
            archive.writestr(member, b"")
    assert "not a readable ZIP archive" in problem(file.getvalue())


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06" + bytes(10)])
def test_a_file_that_is_not_an_archive_is_refused(data):
    assert "not a readable ZIP archive" in problem(data)
