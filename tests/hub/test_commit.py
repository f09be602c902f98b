"""The body of a commit: how large it may be, to the byte, and what its lines say."""

import hashlib
import json
from io import BytesIO

import pytest

from app.domain.errors import MalformedRequestError, TooLargeError
from app.hub.commit import parse_commit, received_body
from tests.support.racing import run_in_thread

LIMIT_BYTES = 96 << 20
"""Four files of 16 MiB, written as base64 and with room for the rest."""
CHUNK = bytes(1 << 20)


class Streamed:
    """Stands for a request whose body comes in chunks."""

    def __init__(self, chunks):
        self.chunks = chunks
        self.state = type("State", (), {})()
        self.scope = {"state": {}}

    async def stream(self):
        for chunk in self.chunks:
            yield chunk


async def received_bytes(*chunks):
    async with received_body(Streamed(chunks)) as body:
        return body.seek(0, 2)


def test_a_body_of_exactly_the_limit_is_taken():
    chunks = [CHUNK] * (LIMIT_BYTES // len(CHUNK))
    assert run_in_thread(received_bytes(*chunks)) == LIMIT_BYTES


def test_a_body_of_one_byte_more_is_refused():
    chunks = [CHUNK] * (LIMIT_BYTES // len(CHUNK))
    with pytest.raises(TooLargeError, match=f" {LIMIT_BYTES} bytes"):
        run_in_thread(received_bytes(b"x", *chunks))


def lines(*documents):
    return BytesIO(b"\n".join(json.dumps(each).encode() for each in documents) + b"\n\n")


def test_the_lines_of_a_commit_are_files_large_files_and_deletions():
    commit = parse_commit(
        lines(
            {"key": "header", "value": {"summary": "push"}},
            {"key": "file", "value": {"path": "a.json", "content": "e30="}},
            {"key": "lfsFile", "value": {"path": "b.bin", "oid": "0" * 64, "size": "7"}},
            {"key": "deletedFile", "value": {"path": "c"}},
            {"key": "deletedFolder", "value": {"path": "d"}},
        )
    )
    (path, file) = next(iter(commit.files.items()))
    assert (path, file.content.read(), file.size_bytes) == ("a.json", b"{}", 2)
    assert file.sha256 == f"sha256:{hashlib.sha256(b'{}').hexdigest()}"
    assert (commit.large["b.bin"].oid, commit.large["b.bin"].size_bytes) == ("0" * 64, 7)
    assert commit.deleted == ["c", "d"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        pytest.param(b"nothing\n", "not NDJSON", id="no-json"),
        pytest.param(b'{"key": "file"}\n', "not NDJSON", id="no-value"),
        pytest.param(
            b'{"key": "file", "value": {"path": "a", "content": "%"}}\n',
            "Line 1 of the commit, 'file', is malformed",
            id="no-base64",
        ),
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
            b'{"key": "lfsFile", "value": {"path": "a", "oid": "0", "size": NaN}}\n',
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
            b'{"key": "lfsFile", "value": {"path": "a", "oid": "0", "size": 1}}\n',
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
def test_a_line_of_another_form_is_refused(line, sentence):
    with pytest.raises(MalformedRequestError, match=sentence):
        parse_commit(BytesIO(line))
