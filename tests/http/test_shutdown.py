"""A server that is told to stop: first unready, then closed, in each of its processes."""

import signal
import time as clock

import pytest

from tests.support.observing import eventually
from tests.support.raw_http import opened, received
from tests.support.session.served import readiness, status_of


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stopping_server_is_unready_before_it_closes(started, workers):
    process, url = started(workers=workers, REGISTRY_UNREADY_S="2", REGISTRY_DRAIN_S="5")
    start = clock.monotonic()
    process.send_signal(signal.SIGTERM)
    eventually(lambda: readiness(url) == 503)
    assert status_of(f"{url}/healthz") == 200
    eventually(lambda: readiness(url) is None)
    assert clock.monotonic() - start >= 2
    assert process.wait(20) == 0


def test_a_second_signal_does_not_wait(started):
    process, url = started(REGISTRY_UNREADY_S="600")
    process.send_signal(signal.SIGTERM)
    eventually(lambda: readiness(url) == 503)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_a_request_in_progress_has_the_configured_time(started, tokens):
    """It is under way for longer than the server waits for it, and its end is the server's."""
    process, url = started(REGISTRY_UNREADY_S="0", REGISTRY_DRAIN_S="1")
    with opened(url) as connection:
        head = f"POST /v1/suites HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {tokens['admin']}\r\n"
        head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + b" ")
        start = clock.monotonic()
        process.send_signal(signal.SIGTERM)
        received(connection)
        assert process.wait(20) == 0
    assert clock.monotonic() - start >= 1
