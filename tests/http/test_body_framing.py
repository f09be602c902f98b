"""Chunk lines, trailers and bytes after a response: none of them counts or is read without end."""

import json

import pytest
from starlette.responses import JSONResponse

from app.http.body_framing import FramingLimitedProtocol
from app.http.connections import LimitedProtocol
from tests.support.observing import eventually
from tests.support.raw_http import is_closed, opened, received, response_on, sent_until_closed
from tests.support.session.served import serving

CHUNKED = "POST {path} HTTP/1.1\r\nHost: registry\r\nTransfer-Encoding: chunked\r\n{more}\r\n"


async def echo(scope, receive, send):
    """Answer with the size of the body and with the headers as they are after it."""
    if scope["path"] == "/unread":
        await JSONResponse({})(scope, receive, send)
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    names = [name.decode() for name, _ in scope["headers"]]
    await JSONResponse({"size": size, "headers": names})(scope, receive, send)


class Hasty(LimitedProtocol):
    discard_s = 0.5
    time_s = 1.0


@pytest.fixture(scope="module")
def echoing():
    with serving(echo, http=Hasty) as url:
        yield url


def begun(url, path="/", more=""):
    connection = opened(url)
    connection.sendall(CHUNKED.format(path=path, more=more).encode())
    return connection


def chunk(content, extension=b""):
    return b"%x%s\r\n%s\r\n" % (len(content), extension, content)


def test_trailers_are_no_headers(echoing):
    with begun(echoing) as connection:
        trailers = b"Authorization: Bearer stolen\r\nX-Forwarded-Proto: https\r\n"
        connection.sendall(chunk(b"hello") + b"0\r\n" + trailers + b"\r\n")
        status, body = response_on(connection)
    assert status == 200
    assert json.loads(body) == {"size": 5, "headers": ["host", "transfer-encoding"]}


def test_a_token_in_a_trailer_admits_nobody(url, tokens):
    with begun(url, "/v1/suites", "Content-Type: application/json\r\n") as connection:
        trailer = f"Authorization: Bearer {tokens['admin']}\r\n".encode()
        connection.sendall(chunk(b"{}") + b"0\r\n" + trailer + b"\r\n")
        assert response_on(connection)[0] == 401


@pytest.mark.parametrize(
    ("before", "line"),
    [
        pytest.param(b"0\r\n", b"X: " + b"x" * 4000 + b"\r\n", id="trailers"),
        pytest.param(b"0\r\nX: ", b"x" * 4000, id="one-trailer"),
        pytest.param(b"5;x=", b"x" * 4000, id="one-extension"),
        pytest.param(b"", chunk(b"hello", b";" + b"x" * 4000), id="extensions"),
    ],
)
def test_bytes_that_are_not_content_are_limited(echoing, before, line):
    with begun(echoing) as connection:
        connection.sendall(before)
        # The buffers of the sockets take what the server never reads.
        assert sent_until_closed(connection, line, most=5000) < 5000
        assert is_closed(connection)


def test_up_to_the_limit_they_are_read(echoing):
    spare = FramingLimitedProtocol.most_framing_bytes - 1000
    with begun(echoing) as connection:
        extension = b";" + b"x" * (spare // 2)
        connection.sendall(chunk(b"hello", extension) + b"0\r\nX: " + b"x" * (spare // 2))
        connection.sendall(b"\r\n\r\n")
        assert response_on(connection)[0] == 200


def test_a_long_body_in_small_chunks_is_read(echoing):
    """The sizes of many chunks exceed the limit, but not the content."""
    with begun(echoing) as connection:
        for _ in range(100):
            connection.sendall(chunk(b"sixteen bytes...") * 400)
        connection.sendall(b"0\r\n\r\n")
        status, body = response_on(connection)
    assert status == 200
    assert json.loads(body)["size"] == 100 * 400 * 16


def test_a_body_of_single_bytes_is_not(echoing):
    with begun(echoing) as connection:
        assert sent_until_closed(connection, chunk(b"x") * 1000, most=5000) < 5000


def unread(url, length):
    connection = opened(url)
    head = f"POST /unread HTTP/1.1\r\nHost: registry\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode())
    assert response_on(connection)[0] == 200
    return connection


def test_an_answered_request_may_end_within_a_limit(echoing):
    with unread(echoing, 60_000) as connection:
        connection.sendall(bytes(60_000))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: registry\r\n\r\n")
        assert response_on(connection)[0] == 200


def test_after_the_answer_little_is_discarded(echoing):
    with unread(echoing, 10 << 30) as connection:
        assert sent_until_closed(connection, bytes(1 << 16), most=1000) < 1000


def test_after_the_answer_the_connection_closes_soon(echoing):
    with unread(echoing, 1000) as connection:
        eventually(lambda: is_closed(connection, sending=b"x"))


def test_blank_lines_do_not_keep_a_connection_open(echoing):
    with opened(echoing) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: registry\r\n\r\n")
        assert response_on(connection)[0] == 200
        eventually(lambda: is_closed(connection, sending=b"\r\n"))


def test_few_requests_wait_on_a_connection(url):
    with opened(url) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: registry\r\n\r\n" * 1000)
        assert received(connection).count(b"HTTP/1.1 ") <= LimitedProtocol.most_pipelined + 1


def test_some_requests_may(url):
    request = b"GET /healthz HTTP/1.1\r\nHost: registry\r\n\r\n"
    with opened(url) as connection:
        connection.sendall(request * LimitedProtocol.most_pipelined)
        for _ in range(LimitedProtocol.most_pipelined):
            assert response_on(connection)[0] == 200
