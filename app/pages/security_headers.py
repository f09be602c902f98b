"""Headers and cookies of every response under /admin, and the size limit of forms."""

from typing import Final, Literal

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import TooLargeError

_LARGEST_FORM_BYTES: Final = 64 * 1024

# Only static files of this host: no inline script or style, no framing, no other host.
_CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_HEADERS: Final = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class SecurityHeadersMiddleware:
    """Adds the security headers and the cookies set during the request; limits the form's size."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                for cookie in scope.get("state", {}).get("cookies", ()):
                    headers.append("Set-Cookie", cookie)
            await send(message)

        await self.app(scope, _bounded(receive), guarded)


def _bounded(receive: Receive) -> Receive:
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > _LARGEST_FORM_BYTES:
            raise TooLargeError(f"A form may hold at most {_LARGEST_FORM_BYTES} bytes.")
        return message

    return bounded


def set_cookie(
    request: Request,
    name: str,
    value: str,
    *,
    lifetime_s: int,
    same_site: Literal["Strict", "Lax"] = "Strict",
) -> None:
    """Set a cookie in the response to `request`; scripts and other sites cannot read it."""
    cookie = f"{name}={value}; Path=/; Max-Age={lifetime_s}; HttpOnly; SameSite={same_site}"
    if is_https(request):
        cookie += "; Secure"
    cookies: list[str] = request.scope.setdefault("state", {}).setdefault("cookies", [])
    cookies.append(cookie)


def is_https(request: Request) -> bool:
    """Whether the browser uses TLS, to this server or to a proxy that says so."""
    return request.url.scheme == "https"
