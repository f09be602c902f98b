"""Request ids, strict heads, response headers, and responses to unexpected errors."""

import re
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import RegistryError
from app.http.problems import failed, respond
from app.http.request_ids import CURRENT
from app.http.strict_heads import require_strict_head

_HEADER: Final = "X-Request-Id"
_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")

_LOADS_NOTHING: Final = "default-src 'none'; frame-ancestors 'none'"


class TransferBrokenError(Exception):
    """A response could not be completed after it had started; the log has the cause."""


class RequestMiddleware:
    """Adds the request id and security headers to each response, including failures."""

    def __init__(self, app: ASGIApp, *, hsts_max_age_s: int = 0) -> None:
        self._app = app
        self._hsts_max_age_s = hsts_max_age_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _id_of(scope)
        token = CURRENT.set(request_id)
        started = False

        async def send_completed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._complete(MutableHeaders(scope=message), request_id)
            await send(message)

        try:
            if refusal := _refusal_of_head(scope):
                await respond(refusal)(scope, receive, send_completed)
                return
            await self._app(scope, receive, send_completed)
        except Exception as error:  # noqa: BLE001 - every error is logged and becomes a response
            response = failed(Request(scope), error)
            if started:
                # Raising makes the server abort the connection: the client must notice that the
                # response is incomplete.
                raise TransferBrokenError(request_id) from None
            await response(scope, receive, send_completed)
        finally:
            CURRENT.reset(token)

    def _complete(self, headers: MutableHeaders, request_id: str) -> None:
        headers[_HEADER] = request_id
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "no-referrer")
        # Clients may cache a response with an ETag privately, and must revalidate it.
        headers.setdefault(
            "Cache-Control", "private, no-cache" if "etag" in headers else "no-store"
        )
        headers.setdefault("Content-Security-Policy", _LOADS_NOTHING)
        if self._hsts_max_age_s:
            headers.setdefault("Strict-Transport-Security", f"max-age={self._hsts_max_age_s}")


def _id_of(scope: Scope) -> str:
    """Return the client's id if it is well-formed and safe to log, otherwise a new one."""
    given = Headers(scope=scope).getlist(_HEADER)
    if len(given) == 1 and _WELL_FORMED.fullmatch(given[0]):
        return given[0]
    return uuid.uuid4().hex


def _refusal_of_head(scope: Scope) -> RegistryError | None:
    try:
        require_strict_head(scope)
    except RegistryError as error:
        return error
    return None
