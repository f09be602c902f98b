"""The HTTP protocol of the server: uvicorn's, with limits on connections and slow readers."""

import sys
from asyncio import AbstractEventLoop, BaseTransport, TimerHandle, Transport
from collections.abc import Container
from contextlib import suppress
from fcntl import ioctl
from ipaddress import IPv6Address
from termios import TIOCOUTQ
from typing import Any, ClassVar

from starlette.types import Message, Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from app.domain.errors import TooManyConnectionsError
from app.http.body_framing import FramingLimitedProtocol
from app.http.limits import ConnectionLimits, limits_in


class LimitedProtocol(FramingLimitedProtocol):
    """Refuses connections beyond the limits, and aborts those whose client does not read.

    uvicorn waits before it sends the next part of a response, so one part more than the transport
    buffers is in memory. This protocol waits after each part, so that an endpoint produces the next
    one only for a client that reads.
    """

    limits: ClassVar[ConnectionLimits] = ConnectionLimits()
    longest_write_pause_s: ClassVar[float] = 30.0
    slowest_read_bytes_s: ClassVar[int] = 1024

    address = ""
    _write_deadline: TimerHandle | None = None
    _unsent_bytes = 0

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits_in(app_state) or self.limits
        self.timeout_keep_alive = self._limits.keep_alive_s
        self._trusted: Container[str] = getattr(config.loaded_app, "trusted_hosts", ())
        self._served = self.app
        self.app = self._serve_readers

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.address = address_group(self.client[0]) if self.client else ""
        if len(self.connections) > self._limits.connections:
            self._refuse(TooManyConnectionsError("The server has too many open connections."))
        elif self._exceeds_its_address():
            self._refuse(TooManyConnectionsError("Your address has too many open connections."))

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_write_deadline()
        self.app = self._served  # a cycle of references would keep the connection in memory
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_progress()

    def resume_writing(self) -> None:
        if not self.transport.is_closing():
            self._cancel_write_deadline()
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._expect_progress()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _close(self) -> None:
        super()._close()
        self._expect_progress()  # the transport stays open until everything is sent

    async def _serve_readers(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_wait(message: Message) -> None:
            await send(message)
            if self.flow.write_paused:
                await self.flow.drain()

        try:
            await self._served(scope, receive, send_and_wait)
        except BaseException:
            self._expect_progress()  # uvicorn closes the connection
            raise

    def _exceeds_its_address(self) -> bool:
        """Count connections from the client's address; a trusted proxy has many clients."""
        if self.client is None or self.client[0] in self._trusted:
            return False
        same = sum(getattr(each, "address", "") == self.address for each in self.connections)
        return bool(same > self._limits.connections_per_address)

    def _expect_progress(self) -> None:
        self._cancel_write_deadline()
        if self not in self.connections:
            return  # the connection is lost
        self._unsent_bytes = unsent_bytes(self.transport)
        pause_s = self.longest_write_pause_s
        self._write_deadline = self.loop.call_later(pause_s, self._require_progress)

    def _require_progress(self) -> None:
        sent_bytes = self._unsent_bytes - unsent_bytes(self.transport)
        if sent_bytes < self.longest_write_pause_s * self.slowest_read_bytes_s:
            self.transport.abort()
        else:
            self._expect_progress()

    def _cancel_write_deadline(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None


def unsent_bytes(transport: Transport) -> int:
    """Return the bytes that the client has not acknowledged, in the transport and in the kernel.

    The kernel takes more only when a third of its buffer is free, which is megabytes for a fast
    network, so the transport alone does not show the progress of a slow client.
    """
    waiting = transport.get_write_buffer_size()
    with suppress(OSError):
        queued = ioctl(transport.get_extra_info("socket").fileno(), TIOCOUTQ, bytes(4))
        waiting += int.from_bytes(queued, sys.byteorder)
    return waiting


def address_group(host: str) -> str:
    """Return an address, or the /64 network of an IPv6 address, which belongs to one client."""
    if ":" not in host:
        return host
    return str(int(IPv6Address(host.partition("%")[0])) >> 64)
