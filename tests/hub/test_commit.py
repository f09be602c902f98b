"""The body of a commit: how large it and its lines may be, to the byte, and what they say."""

import base64
import hashlib
import json
import tracemalloc

import pytest

from app.domain.errors import InvalidRequestError, MalformedRequestError, TooLargeError
from app.hub.commit import received_commit
from tests.support.racing import run_in_thread

LIMIT_BYTES = 96 << 20
"""Four files of 16 MiB, written as base64 and with room for the rest."""
LINE_BYTES = 24 << 20
CHUNK = bytes(1 << 20)


class Streamed:
    """Stands for a request whose body comes in chunks; it counts those that were read."""

    def __init__(self, chunks, **headers):
        self.chunks = chunks
        self.state = type("State", (), {})()
        self.scope = {"state": {}}
        self.headers = headers
        self.read = 0

    async def stream(self):
        for chunk in self.chunks:
            self.read += 1
            yield chunk


async def parsed(request):
    async with received_commit(request) as commit:
        contents = {path: file.content.read() for path, file in commit.files.items()}
        return commit, contents


async def received(request):
    async with received_commit(request) as commit:
        return commit


def commit_of(*chunks):
    return run_in_thread(received(Streamed(chunks)))


def line(key, **value):
    return json.dumps({"key": key, "value": value}).encode() + b"\n"


def padded(size_bytes):
    """Return one line of this size that means nothing, in chunks, without its end."""
    start, end = b'{"key": "header", "value": {"summary": "', b'"}}'
    middle = size_bytes - len(start) - len(end)
    whole, rest = divmod(middle, 1 << 20)
    return [start, *[b"x" * (1 << 20)] * whole, b"x" * rest, end]


def test_a_line_of_exactly_the_limit_is_taken():
    commit = commit_of(*padded(LINE_BYTES), b"\n", line("deletedFile", path="a"))
    assert commit.deleted == ["a"]


def test_a_line_of_one_byte_more_is_refused():
    with pytest.raises(TooLargeError, match=f"A line of a commit may have at most {LINE_BYTES} "):
        commit_of(*padded(LINE_BYTES + 1))


def test_an_endless_line_is_not_read():
    request = Streamed([CHUNK] * 1000)
    with pytest.raises(TooLargeError):
        run_in_thread(parsed(request))
    assert request.read == 25


def test_a_body_of_exactly_the_limit_is_taken():
    lines = [*padded(LINE_BYTES - 1), b"\n", *[b" " * (LINE_BYTES - 1), b"\n"] * 3]
    assert sum(map(len, lines)) == LIMIT_BYTES
    assert commit_of(*lines).files == {}


def test_a_body_of_one_byte_more_is_refused():
    with pytest.raises(TooLargeError, match=f"A commit may have at most {LIMIT_BYTES} bytes"):
        commit_of(*[b" " * (LINE_BYTES - 1), b"\n"] * 4, b"\n")


def test_an_announced_body_that_is_too_large_is_not_read():
    request = Streamed([CHUNK], **{"content-length": str(LIMIT_BYTES + 1)})
    with pytest.raises(TooLargeError):
        run_in_thread(parsed(request))
    assert request.read == 0


@pytest.mark.parametrize("meant", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_commit_has_64_lines_at_most(meant, at_once):
    def chunks(number):
        lines = [line("deletedFile", path=f"{n}") if meant else b"\n" for n in range(number)]
        return [b"".join(lines)] if at_once else lines

    assert len(commit_of(*chunks(64)).deleted) in {0, 64}
    with pytest.raises(InvalidRequestError, match="A commit may have at most 64 lines"):
        commit_of(*chunks(65))


def test_the_lines_of_a_commit_are_files_large_files_and_deletions():
    commit, contents = run_in_thread(
        parsed(
            Streamed(
                [
                    line("header", summary="push"),
                    line("file", path="a.json", content="e30="),
                    line("lfsFile", path="b.bin", oid="0" * 64, size="7"),
                    line("deletedFile", path="c"),
                    line("deletedFolder", path="d").strip(),
                ]
            )
        )
    )
    assert contents == {"a.json": b"{}"}
    assert commit.files["a.json"].size_bytes == 2
    assert commit.files["a.json"].sha256 == f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
    assert (commit.large["b.bin"].oid, commit.large["b.bin"].size_bytes) == ("0" * 64, 7)
    assert commit.deleted == ["c", "d"]


def test_the_cuts_between_chunks_mean_nothing():
    content = bytes(range(256)) * 8192
    body = line("file", path="a", content=base64.b64encode(content).decode())
    body += line("deletedFile", path="b")
    chunks = [body[start : start + 65_537] for start in range(0, len(body), 65_537)]
    commit, contents = run_in_thread(parsed(Streamed(chunks)))
    assert contents == {"a": content}
    assert commit.deleted == ["b"]


def test_a_commit_needs_the_memory_of_one_line():
    """The line, its text, the value, and a megabyte of what it decodes to."""
    size_bytes = 6 << 20
    start = b'{"key": "file", "value": {"path": "a%d", "content": "'
    text = b"A" * (1 << 20)
    lines = [each for number in range(8) for each in (start % number, *[text] * 6, b'"}}\n')]
    tracemalloc.start()
    try:
        commit_of(*lines)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * size_bytes


def malformed(document):
    return pytest.param(
        json.dumps(document).encode(), "Line 1 of the commit", id=json.dumps(document)
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(b"nothing\n", "not NDJSON", id="no-json"),
        pytest.param(b'{"key": "file"}\n', "not NDJSON", id="no-value"),
        pytest.param(b"[" * 40_000, "not NDJSON", id="nested"),
        pytest.param(b'{"key":"a","value":[' + b"[]," * 40_000, "not NDJSON", id="many-values"),
        malformed({"key": "file", "value": {"path": "a", "content": "%"}}),
        malformed({"key": "file", "value": {"path": "a", "content": "QQ==QQ=="}}),
        malformed({"key": "file", "value": {"path": "a", "content": ["QQ=="]}}),
        malformed({"key": "file", "value": {"path": 1, "content": "QQ=="}}),
        malformed({"key": "file", "value": {"path": "a\x00", "content": "QQ=="}}),
        malformed({"key": "file", "value": {"path": "\ud800", "content": "QQ=="}}),
        malformed({"key": "file", "value": "QQ=="}),
        malformed({"key": "lfsFile", "value": {"path": "a", "oid": "\x00", "size": 1}}),
        malformed({"key": "deletedFile", "value": 7}),
        pytest.param(
            b'{"key": "file", "key": "header", "value": {"path": "a", "content": ""}}\n',
            'the key "key" is given more than once',
            id="repeated-key",
        ),
        pytest.param(
            b'{"key": "file", "value": {"path": "a", "p\\u0061th": "b", "content": ""}}\n',
            'the key "path" is given more than once',
            id="repeated-key-escaped",
        ),
        pytest.param(
            b'{"key": "lfsFile", "value": {"path": "a", "oid": "00000000", "size": NaN}}\n',
            "NaN is not a JSON number",
            id="no-number",
        ),
        pytest.param(
            b'{"key": "file", "value": {"path": "a", "content": "MQ=="}}\n'
            b'{"key": "file", "value": {"path": "a", "content": "Mg=="}}\n',
            "the path 'a' more than once",
            id="repeated-file",
        ),
        pytest.param(
            b'{"key": "file", "value": {"path": "a", "content": "MQ=="}}\n'
            b'{"key": "lfsFile", "value": {"path": "a", "oid": "00000000", "size": 1}}\n',
            "the path 'a' more than once",
            id="repeated-file-large",
        ),
        pytest.param(
            b'{"key": "header", "value": {"summary": "a"}}\n' * 2,
            "a header more than once",
            id="repeated-header",
        ),
    ],
)
def test_a_line_of_another_form_is_refused(text, sentence):
    with pytest.raises(MalformedRequestError, match=sentence):
        commit_of(text)


def test_the_text_of_a_header_may_be_long():
    """Only lines above 64 KiB may not hold many values."""
    commit_of(line("header", summary="push", description="a, b, [c] " * 4000))
