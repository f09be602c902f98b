"""Limits on connections: how many there are, and how long one may go unread or idle."""

import asyncio
import gc
import json
import threading
import weakref
from contextlib import ExitStack

import pytest
from starlette.responses import StreamingResponse

from app.http.connections import LimitedProtocol, address_group
from app.http.limits import STATE_KEY, ConnectionLimits
from tests.support.observing import eventually
from tests.support.raw_http import is_closed, opened, received, response_on
from tests.support.session.served import serving

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: registry\r\n\r\n"
CHUNK = bytes(1 << 20)


class Few(LimitedProtocol):
    limits = ConnectionLimits(connections=4, connections_per_address=100, keep_alive_s=75)


class FewOfEach(LimitedProtocol):
    limits = ConnectionLimits(connections=100, connections_per_address=4, keep_alive_s=75)


class ShortlyIdle(LimitedProtocol):
    limits = ConnectionLimits(keep_alive_s=1)


class Abrupt(LimitedProtocol):
    longest_write_pause_s = 0.3


class Patient(LimitedProtocol):
    longest_write_pause_s = 1.5


def filled(url, number):
    """Open connections that are in use, and return one more."""
    with ExitStack() as stack:
        for _ in range(number):
            connection = stack.enter_context(opened(url))
            connection.sendall(REQUEST)
            assert response_on(connection)[0] == 200
        with opened(url) as further:
            return received(further)


@pytest.mark.parametrize(
    ("http", "proxies", "subject"),
    [
        pytest.param(Few, "127.0.0.1", "The server has", id="per-process"),
        pytest.param(FewOfEach, "10.0.0.1", "Your address has", id="per-address"),
    ],
)
def test_connections_beyond_the_limit_are_refused(app, http, proxies, subject):
    with serving(app, http=http, forwarded_allow_ips=proxies) as url:
        response = filled(url, 4)
        assert response.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in response
        assert subject in json.loads(response.partition(b"\r\n\r\n")[2])["detail"]
        eventually(lambda: answers(url))  # closed connections no longer count


def admitted(url, *, most):
    """Open connections, and return how many of them the server answers."""
    with ExitStack() as stack:
        for count in range(most):
            connection = stack.enter_context(opened(url))
            if not answers_on(connection):
                return count
    return most


def answers(url):
    with opened(url) as connection:
        return answers_on(connection)


def answers_on(connection):
    try:
        connection.sendall(REQUEST)
        return connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    except ConnectionError:
        return False


def test_a_trusted_proxy_has_many_clients(app):
    with serving(app, http=FewOfEach) as url, ExitStack() as stack:
        for _ in range(6):
            connection = stack.enter_context(opened(url))
            connection.sendall(REQUEST)
            assert response_on(connection)[0] == 200


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_a_network_of_ipv6_counts_as_one_address(one, other, same):
    assert (address_group(one) == address_group(other)) is same


def test_an_idle_connection_closes_after_the_configured_time(app):
    with serving(app, http=ShortlyIdle) as url, opened(url) as connection:
        connection.sendall(REQUEST)
        assert response_on(connection)[0] == 200
        assert received(connection) == b""


def test_a_connection_may_idle_longer_than_a_load_balancer_keeps_it():
    assert LimitedProtocol.limits.keep_alive_s > 60


def test_the_lifespan_sets_the_limits_of_each_process(app):
    @lifespan_yielding({STATE_KEY: Few.limits})
    async def limited(scope, receive, send):
        await app(scope, receive, send)

    with serving(limited, lifespan="on") as url:
        assert filled(url, 4).startswith(b"HTTP/1.1 503 ")


def test_each_process_has_the_limits_of_the_settings(started):
    _, url = started(REGISTRY_MAX_CONNECTIONS="4")
    eventually(lambda: admitted(url, most=10) == 4)


def lifespan_yielding(state):
    """Return a decorator that gives an application a lifespan with this state."""

    def decorated(app):
        async def with_lifespan(scope, receive, send):
            if scope["type"] != "lifespan":
                await app(scope, receive, send)
                return
            await receive()
            scope["state"].update(state)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})

        return with_lifespan

    return decorated


class Endless:
    """An application that sends without end; it counts chunks and notes when it is ended."""

    def __init__(self, part=CHUNK):
        self.part = part
        self.produced = 0
        self.ended = threading.Event()

    async def __call__(self, scope, receive, send):
        async def chunks():
            try:
                while True:
                    self.produced += 1
                    yield self.part
                    await asyncio.sleep(0)
            finally:
                self.ended.set()

        await StreamingResponse(chunks())(scope, receive, send)


def test_a_client_that_does_not_read_is_disconnected():
    endless = Endless()
    with serving(endless, http=Abrupt) as url, opened(url, receive_buffer_bytes=4096) as connection:
        connection.sendall(REQUEST)
        assert endless.ended.wait(10)
        eventually(lambda: is_closed(connection))


def test_the_next_part_of_a_response_is_produced_once_one_is_read():
    """The buffers of the sockets do not take even the first part, which is larger."""
    endless = Endless(bytes(32 << 20))
    with serving(endless) as url:
        with opened(url, receive_buffer_bytes=4096) as connection:
            connection.sendall(REQUEST)
            eventually(lambda: endless.produced)
            assert settled(lambda: endless.produced) == 1
            while endless.produced == 1:
                connection.recv(1 << 20)
        assert endless.ended.wait(10)


class Noted(LimitedProtocol):
    """Notes the latest connection, and whether it is lost."""

    limits = ConnectionLimits(keep_alive_s=1)
    longest_write_pause_s = 0.3
    latest = None

    def connection_made(self, transport):
        super().connection_made(transport)
        self.lost = False
        Noted.latest = self

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self.lost = True


def response_that_ends(way):
    """Return an application whose response leaves some bytes in the transport when it ends."""

    async def app(scope, receive, send):
        async def chunks():
            while not Noted.latest.transport.get_write_buffer_size():
                yield bytes(1 << 13)
                await asyncio.sleep(0)
            if way == "failure":
                raise RuntimeError

        headers = {"Connection": "close"} if way == "close" else {}
        await StreamingResponse(chunks(), headers=headers)(scope, receive, send)

    return app


@pytest.mark.parametrize("way", ["keep-alive", "close", "failure"])
def test_a_connection_that_is_closed_with_unread_bytes_is_not_kept(way):
    """They are too few to pause the transport, which would wait without end."""
    Noted.latest = None
    with (
        serving(response_that_ends(way), http=Noted) as url,
        opened(url, receive_buffer_bytes=4096) as connection,
    ):
        connection.sendall(REQUEST)
        eventually(lambda: Noted.latest is not None)
        eventually(lambda: Noted.latest.lost, within_s=10)


def test_a_lost_connection_leaves_no_garbage(app):
    with serving(app, http=Noted) as url:
        with opened(url) as connection:
            connection.sendall(REQUEST)
            assert response_on(connection)[0] == 200
            latest, Noted.latest = weakref.ref(Noted.latest), None
            gc.disable()
        try:
            eventually(lambda: latest() is None)
        finally:
            gc.enable()


def settled(read):
    """Return a number once it no longer changes."""
    values = [object(), object()]

    def same():
        values.append(read())
        return values[-1] == values[-2] == values[-3]

    eventually(same)
    return values[-1]


def test_a_slow_reader_is_served_to_the_end():
    """The deadline is for progress, not for the response."""

    async def large(scope, receive, send):
        async def chunks():
            for _ in range(12):
                yield CHUNK

        headers = {"Content-Length": str(12 * len(CHUNK)), "Connection": "close"}
        await StreamingResponse(chunks(), headers=headers)(scope, receive, send)

    with serving(large, http=Patient) as url, opened(url, receive_buffer_bytes=65536) as connection:
        connection.sendall(REQUEST)
        size, pauses = 0, threading.Event()
        while part := connection.recv(1 << 16):
            size += len(part)
            pauses.wait(0.02)
    assert size > 12 * len(CHUNK)
