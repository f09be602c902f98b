"""Timeouts of request heads and bodies, and the size limit of heads."""

import json
import time as clock
from contextlib import suppress

import pytest

from app.domain.errors import RequestTimeoutError
from app.http import body_timeouts
from app.http.body_timeouts import BodyTimeoutMiddleware
from app.http.connections import LimitedProtocol
from tests.support.racing import run_in_thread
from tests.support.raw_http import opened, received
from tests.support.session.served import serving


class Impatient(LimitedProtocol):
    time_s = 0.3


@pytest.fixture(scope="module")
def impatient(app):
    """The URL of a server with short timeouts."""
    paced = BodyTimeoutMiddleware(app, longest_pause_s=0.3, slowest_bytes_s=10_000, grace_s=0.5)
    with serving(paced, http=Impatient) as url:
        yield url


def head_of_a_post(tokens):
    return (
        "POST /v1/suites HTTP/1.1\r\nHost: registry\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {tokens['admin']}\r\nContent-Length: 9000\r\n\r\n"
    ).encode()


def test_a_body_that_pauses_too_long_is_refused(impatient, tokens):
    with opened(impatient) as connection:
        connection.sendall(head_of_a_post(tokens) + b'{"name":')
        response = received(connection)
    assert response.startswith(b"HTTP/1.1 408 ")
    assert b"/problems/request-timeout" in response


def test_a_body_that_arrives_too_slowly_is_refused(impatient, tokens):
    with opened(impatient) as connection:
        connection.sendall(head_of_a_post(tokens))
        response = dripped(connection)
    assert response.startswith(b"HTTP/1.1 408 ")


def test_a_chunk_line_that_arrives_slowly_is_refused(impatient, tokens):
    head = head_of_a_post(tokens).replace(b"Content-Length: 9000", b"Transfer-Encoding: chunked")
    with opened(impatient) as connection:
        connection.sendall(head + b"5;")
        response = dripped(connection)
    assert response.startswith(b"HTTP/1.1 408 ")


def dripped(connection):
    """Send a byte every 100 ms until there is a response."""
    connection.settimeout(0.1)
    start = clock.monotonic()
    while clock.monotonic() - start < 5:
        connection.sendall(b"x")
        with suppress(TimeoutError):
            return connection.recv(1 << 16)
    return b""


class Steps:
    """A clock that moves by as much as each wait for the client takes."""

    def __init__(self, waits_s):
        self.now = 0.0
        self.waits_s = iter(waits_s)

    def monotonic(self):
        return self.now

    async def receive(self):
        self.now += next(self.waits_s)
        return {"type": "http.request", "body": b"x", "more_body": True}


def received_before_the_refusal(monkeypatch, waits_s):
    """Return how many messages reach the application at these waits, by 10 bytes a second."""
    steps, taken = Steps(waits_s), []
    monkeypatch.setattr(body_timeouts, "time", steps)

    async def application(scope, receive, send):
        while True:
            taken.append(await receive())

    paced = BodyTimeoutMiddleware(application, longest_pause_s=100, slowest_bytes_s=10, grace_s=30)
    with pytest.raises(RequestTimeoutError, match="less than 10 bytes per second"):
        run_in_thread(paced({"type": "http"}, steps.receive, None))
    return len(taken)


def test_the_pace_counts_only_after_the_grace(monkeypatch):
    assert received_before_the_refusal(monkeypatch, [10.0, 20.0, 0.001]) == 2


def test_a_complete_request_has_no_timeout(impatient, tokens):
    """Timeouts end when the body is complete; the response may take any time."""
    with opened(impatient) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: registry\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a"], ids=["nothing", "half"])
def test_an_incomplete_head_times_out(impatient, sent):
    with opened(impatient) as connection:
        connection.sendall(sent)
        response = received(connection)
    assert response.startswith(b"HTTP/1.1 408 ") if sent else response == b""


def test_the_next_head_on_a_connection_has_its_own_timeout(impatient):
    with opened(impatient) as connection:
        for _ in range(3):
            clock.sleep(0.2)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: registry\r\n\r\n")
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET /healthz HT")
        assert received(connection).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"X: " + b"x" * 4000 + b"\r\n", id="many-lines"),
        pytest.param(b"x" * 4000, id="one-line"),
    ],
)
def test_an_endless_head_is_not_read(url, line):
    with opened(url) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: registry\r\nX-First: ")
        response = b""
        with suppress(OSError):  # the server closes the connection without reading everything
            for _ in range(1000):
                connection.sendall(line)
        with suppress(ConnectionError):
            response = connection.recv(1 << 16)
    assert response[:13] in {b"", b"HTTP/1.1 431 "}


def test_a_complete_head_that_is_too_large_is_refused_with_a_reason(url):
    head = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    with opened(url) as connection:
        connection.sendall(head + b"X: " + b"x" * 40_000 + b"\r\n\r\n")
        response = received(connection)
    assert response.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in response


def test_a_request_that_is_not_http_is_refused_as_a_problem(url):
    with opened(url) as connection:
        connection.sendall(b"HELLO\r\n\r\n")
        response = received(connection)
    assert response.startswith(b"HTTP/1.1 400 ")
    assert json.loads(response.partition(b"\r\n\r\n")[2])["type"] == "/problems/malformed-request"
