"""Limits on the head of a request (request line and headers): its size and its duration."""

import json
from asyncio import BaseTransport, TimerHandle
from http import HTTPStatus
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.domain.errors import (
    HeadersTooLargeError,
    MalformedRequestError,
    RegistryError,
    RequestTimeoutError,
)
from app.http.problems import MEDIA_TYPE, STATUS, document_of, headers_of


class HeaderLimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits; by itself it accepts endless headers at any pace."""

    time_s: ClassVar[float] = 10.0
    most_bytes: ClassVar[int] = 64 * 1024

    _deadline: TimerHandle | None = None
    _in_head = True
    _head_bytes = 0

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type] # uvicorn narrows the type
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.most_bytes:
                message = f"The request's head exceeds {self.most_bytes} bytes."
                self._refuse(HeadersTooLargeError(message))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._cancel_deadline()
        self._in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(MalformedRequestError(f"{msg} Use an HTTP library to write the request."))

    def _expect_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._cancel_deadline()
        self._deadline = self.loop.call_later(self.time_s, self._give_up)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._head_bytes:
            message = f"The request's head was not complete after {self.time_s:g} seconds."
            self._refuse(RequestTimeoutError(message))
        else:
            self._close()

    def _refuse(self, error: RegistryError) -> None:
        """Send the refusal and close; only close while an earlier response is incomplete."""
        self._cancel_deadline()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_response(error))
        self._close()

    def _close(self) -> None:
        self.transport.close()


def _response(error: RegistryError) -> bytes:
    body = json.dumps(document_of(error)).encode()
    status = HTTPStatus(STATUS[type(error)])
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        **headers_of(error),
        "Connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}\r\n".encode() + body
