"""Limits on what surrounds a body: chunk lines, trailers, and bytes after the response."""

from asyncio import TimerHandle
from typing import ClassVar

from app.domain.errors import MalformedRequestError
from app.http.header_limits import HeaderLimitedProtocol


class FramingLimitedProtocol(HeaderLimitedProtocol):
    """Drops trailers, and ends connections that send too much that no endpoint reads.

    httptools reports trailers like headers, without a limit, and buffers an unfinished one. The
    bytes of chunk sizes, chunk extensions and trailers are therefore counted: all that arrives
    within a body and is not content.
    """

    most_framing_bytes: ClassVar[int] = 16 * 1024
    most_pipelined: ClassVar[int] = 32
    most_discarded_bytes: ClassVar[int] = 64 * 1024
    discard_s: ClassVar[float] = 2.0

    _discarding: TimerHandle | None = None
    _in_body = False
    _content_bytes = 0  # of the body so far
    _new_content_bytes = 0  # of the body, in the data being parsed
    _framing_bytes = 0
    _framing_run_bytes = 0  # since content last arrived
    _discarded_bytes = 0

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_discarding()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        within, cycle, between = self._in_body, self.cycle, self._is_between()
        self._new_content_bytes = 0
        super().data_received(data)
        if within and self._in_body and self.cycle is cycle:
            self._count_framing(len(data) - self._new_content_bytes)
        elif between and self._is_between() and self._deadline is None:
            # Blank lines before a request end the keep-alive timeout, but begin no request.
            self._deadline = self.loop.call_later(self.time_s, self._close)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_body = True
        self._content_bytes = self._framing_bytes = self._framing_run_bytes = 0
        self._discarded_bytes = 0
        super().on_headers_complete()
        if len(self.pipeline) > self.most_pipelined:
            message = f"At most {self.most_pipelined} requests may wait on one connection."
            raise MalformedRequestError(message)  # ends the parsing of what has arrived

    def on_body(self, body: bytes) -> None:
        self._content_bytes += len(body)
        self._new_content_bytes += len(body)
        super().on_body(body)
        if self.cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > self.most_discarded_bytes:
                self._close()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()
        if self._discarding is not None:
            self._cancel_discarding()
            self._await_next_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete and not self.transport.is_closing():
            self._discarding = self.loop.call_later(self.discard_s, self._close)

    def _is_between(self) -> bool:
        """Whether a request is complete and the next one has not begun."""
        return not (self._in_head or self._in_body)

    def _await_next_request(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _cancel_discarding(self) -> None:
        if self._discarding is not None:
            self._discarding.cancel()
            self._discarding = None

    def _count_framing(self, size_bytes: int) -> None:
        """Close if more than the limit arrived without content, or beyond the content's size."""
        self._framing_bytes += size_bytes
        self._framing_run_bytes += size_bytes
        if self._new_content_bytes:
            self._framing_run_bytes = 0
        allowed = self.most_framing_bytes
        if self._framing_run_bytes > allowed or self._framing_bytes > allowed + self._content_bytes:
            self._refuse(MalformedRequestError("The chunks' sizes and trailers are too large."))
