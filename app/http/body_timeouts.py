"""Timeouts of request bodies, so that slow clients cannot hold connections."""

import asyncio
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import RequestTimeoutError

_LONGEST_PAUSE_S: Final = 30.0
_SLOWEST_BYTES_S: Final = 1024
_GRACE_S: Final = 30.0


class BodyTimeoutMiddleware:
    """Refuses requests whose body pauses too long or, after a grace period, arrives too slowly.

    Only time spent waiting for the client counts, and only until the body is complete.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        longest_pause_s: float = _LONGEST_PAUSE_S,
        slowest_bytes_s: float = _SLOWEST_BYTES_S,
        grace_s: float = _GRACE_S,
    ) -> None:
        self._app = app
        self._longest_pause_s = longest_pause_s
        self._slowest_bytes_s = slowest_bytes_s
        self._grace_s = grace_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        complete = False
        waited_s, size_bytes = 0.0, 0

        async def receive_in_time() -> Message:
            nonlocal complete, waited_s, size_bytes
            if complete:
                return await receive()
            start = time.monotonic()
            try:
                async with asyncio.timeout(self._longest_pause_s):
                    message = await receive()
            except TimeoutError as error:
                raise RequestTimeoutError(
                    f"No data arrived for {self._longest_pause_s:g} seconds; "
                    "send the request again."
                ) from error
            waited_s += time.monotonic() - start
            size_bytes += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if not complete:
                self._require_pace(size_bytes, waited_s)
            return message

        await self._app(scope, receive_in_time, send)

    def _require_pace(self, size_bytes: int, waited_s: float) -> None:
        if waited_s > self._grace_s and size_bytes < waited_s * self._slowest_bytes_s:
            raise RequestTimeoutError(
                f"The body arrives at less than {self._slowest_bytes_s:g} bytes per second. "
                "Send it again over a better connection, or as a direct upload."
            )
