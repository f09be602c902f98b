"""The limits of a request's head where no test has set its own."""

import pytest

from app.http.header_limits import HeaderLimitedProtocol


def test_a_head_may_take_ten_seconds():
    assert HeaderLimitedProtocol.time_s == 10.0


def test_a_head_may_have_64_kib():
    assert HeaderLimitedProtocol.most_bytes == 64 * 1024


class Transport:
    """A connection that records its bytes."""

    def __init__(self, *, is_closing):
        self.written = b""
        self.is_closing = lambda: is_closing

    def write(self, data):
        self.written += data

    def close(self):
        self.is_closing = lambda: True


@pytest.mark.parametrize(("is_closing", "refusals"), [(False, 1), (True, 0)])
def test_a_connection_gets_one_refusal_at_most(is_closing, refusals):
    protocol = object.__new__(HeaderLimitedProtocol)
    protocol.transport, protocol.cycle = Transport(is_closing=is_closing), None
    for _ in range(2):
        protocol.send_400_response("Invalid HTTP request.")
    assert protocol.transport.written.count(b"HTTP/1.1 400 ") == refusals
