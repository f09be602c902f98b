"""What every request gets: an id that its answer and the log carry, and an answer."""

import re
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import HeadersTooLargeError
from app.http.problems import failed, respond
from app.http.request_ids import CURRENT

_HEADER: Final = "X-Request-Id"
_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")

_MOST_HEADERS: Final = 100
_MOST_HEADER_BYTES: Final = 32 * 1024

_NOTHING_LOADS: Final = "default-src 'none'; frame-ancestors 'none'"
# The page that FastAPI makes for people to read the contract loads its script from there.
_DOCUMENTATION: Final = (
    "default-src 'none'; connect-src 'self'; img-src https://fastapi.tiangolo.com data:; "
    "script-src https://cdn.jsdelivr.net 'unsafe-inline'; "
    "style-src https://cdn.jsdelivr.net 'unsafe-inline'; frame-ancestors 'none'"
)


class TransferBrokenError(Exception):
    """An answer that had begun could not be completed; the log says why, under the request."""


class RequestMiddleware:
    """Gives each request an id and each answer its headers; a failure is an answer too."""

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
                self._complete(scope, MutableHeaders(scope=message), request_id)
            await send(message)

        try:
            if _has_endless_headers(scope):
                message = f"Send at most {_MOST_HEADERS} headers, of {_MOST_HEADER_BYTES} bytes."
                await respond(HeadersTooLargeError(message))(scope, receive, send_completed)
                return
            await self._app(scope, receive, send_completed)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered and logged here
            answer = failed(Request(scope), error)
            if started:
                # The client must see that its answer is not whole; the server logs this error.
                raise TransferBrokenError(request_id) from None
            await answer(scope, receive, send_completed)
        finally:
            CURRENT.reset(token)

    def _complete(self, scope: Scope, headers: MutableHeaders, request_id: str) -> None:
        headers[_HEADER] = request_id
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "no-referrer")
        # What has an ETag may be kept by the client who asked, and asked about again.
        headers.setdefault(
            "Cache-Control", "private, no-cache" if "etag" in headers else "no-store"
        )
        is_documentation = scope["path"] == "/docs"
        policy = _DOCUMENTATION if is_documentation else _NOTHING_LOADS
        headers.setdefault("Content-Security-Policy", policy)
        if self._hsts_max_age_s:
            headers.setdefault("Strict-Transport-Security", f"max-age={self._hsts_max_age_s}")


def _id_of(scope: Scope) -> str:
    """Return the id that the client gave, if it can be copied anywhere; else a new one."""
    given = Headers(scope=scope).getlist(_HEADER)
    if len(given) == 1 and _WELL_FORMED.fullmatch(given[0]):
        return given[0]
    return uuid.uuid4().hex


def _has_endless_headers(scope: Scope) -> bool:
    headers = scope["headers"]
    size_bytes = sum(len(name) + len(value) for name, value in headers)
    return len(headers) > _MOST_HEADERS or size_bytes > _MOST_HEADER_BYTES
