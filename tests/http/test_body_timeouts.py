"""How long the server waits for a request, and how large a head it reads."""

import json
import socket
import time as clock
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from app.http.body_timeouts import BodyTimeoutMiddleware
from app.http.header_limits import HeaderLimitedProtocol
from tests.support.served import serving


def opened(url):
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=10)


def heard(connection):
    """Return all that the server says before it hangs up."""
    answer = b""
    while chunk := connection.recv(1 << 16):
        answer += chunk
    return answer


class Impatient(HeaderLimitedProtocol):
    time_s = 0.3


@pytest.fixture(scope="module")
def impatient(app):
    """The URL of a server that waits for nobody."""
    paced = BodyTimeoutMiddleware(app, longest_pause_s=0.3, slowest_bytes_s=10_000, grace_s=0.5)
    with serving(paced, http=Impatient) as url:
        yield url


def head_of_a_post(tokens):
    return (
        "POST /v1/suites HTTP/1.1\r\nHost: registry\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {tokens['admin']}\r\nContent-Length: 9000\r\n\r\n"
    ).encode()


def test_a_body_that_stops_coming_is_waited_for_a_while(impatient, tokens):
    with opened(impatient) as connection:
        connection.sendall(head_of_a_post(tokens) + b'{"name":')
        answer = heard(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"/problems/request-timeout" in answer


def test_a_body_that_trickles_is_not_waited_for(impatient, tokens):
    with opened(impatient) as connection:
        connection.sendall(head_of_a_post(tokens))
        start = clock.monotonic()
        connection.settimeout(0.1)
        answer = b""
        while not answer and clock.monotonic() - start < 5:
            connection.sendall(b" ")
            try:
                answer = connection.recv(1 << 16)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_long_answer_is_no_slow_request(impatient, tokens):
    """Once its body is there, a request may take as long as it needs."""
    with opened(impatient) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: registry\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a"], ids=["nothing", "half"])
def test_a_head_that_does_not_come_is_not_waited_for(impatient, sent):
    with opened(impatient) as connection:
        connection.sendall(sent)
        answer = heard(connection)
    assert answer.startswith(b"HTTP/1.1 408 ") if sent else answer == b""


def test_the_next_head_on_a_connection_has_its_own_time(impatient):
    with opened(impatient) as connection:
        for _ in range(3):
            clock.sleep(0.2)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: registry\r\n\r\n")
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET /healthz HT")
        assert heard(connection).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"X: " + b"x" * 4000 + b"\r\n", id="many-lines"),
        pytest.param(b"x" * 4000, id="one-line"),
    ],
)
def test_a_head_without_end_is_not_read(url, line):
    with opened(url) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: registry\r\nX-First: ")
        answer = b""
        with suppress(OSError):  # it hangs up on what it has not read
            for _ in range(1000):
                connection.sendall(line)
        with suppress(ConnectionError):
            answer = connection.recv(1 << 16)
    assert answer[:13] in {b"", b"HTTP/1.1 431 "}


def test_a_complete_head_that_is_too_large_is_refused_with_a_reason(url):
    head = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    with opened(url) as connection:
        connection.sendall(head + b"X: " + b"x" * 40_000 + b"\r\n\r\n")
        answer = heard(connection)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in answer


def test_what_is_no_http_is_refused_as_a_problem(url):
    with opened(url) as connection:
        connection.sendall(b"HELLO\r\n\r\n")
        answer = heard(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "/problems/malformed-request"
