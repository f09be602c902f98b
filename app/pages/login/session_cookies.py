"""Who is looking: the session behind a page, and the mark that its forms carry."""

import hmac
import secrets
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends, Form, Request

from app.domain.errors import UnauthenticatedError
from app.domain.identity.oidc_login import ATTEMPT_LIFETIME
from app.http.deps import IssuersDep, Now, SessionsDep
from app.pages.security_headers import is_private, keep_cookie
from app.services.identity import web_sessions
from app.services.identity.web_sessions import PageVisit


class StaleFormError(Exception):
    """A form without the mark of the session that showed it; nobody but a page can send one."""

    title: Final = "The form is not of this session"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


_LIFETIME_S: Final = int(web_sessions.LONGEST_LIFETIME.total_seconds())
_SIGN_IN_LIFETIME_S: Final = 3600
_ATTEMPT_LIFETIME_S: Final = int(ATTEMPT_LIFETIME.total_seconds())


def _name(request: Request, kind: str) -> str:
    """Return a cookie's name; by TLS, one that no other host of the domain can set."""
    return f"__Host-{kind}" if is_private(request) else kind


def keep_session(request: Request, cookie: str) -> None:
    keep_cookie(request, _name(request, "registry_session"), cookie, lifetime_s=_LIFETIME_S)


def drop_session(request: Request) -> None:
    keep_cookie(request, _name(request, "registry_session"), "", lifetime_s=0)


def keep_attempt(request: Request, cookie: str) -> None:
    """Keep what ties a sign-in at an issuer to this browser until the issuer leads back.

    That is a navigation from another site, on which a `Strict` cookie would be missing. Its path
    is no narrower than the others': `__Host-` forbids that, and keeps other hosts of the domain
    from planting an attempt of theirs, which a path does not.
    """
    name = _name(request, "registry_sign_in_attempt")
    keep_cookie(request, name, cookie, lifetime_s=_ATTEMPT_LIFETIME_S, same_site="Lax")


def attempt_cookie(request: Request) -> str | None:
    return request.cookies.get(_name(request, "registry_sign_in_attempt"))


def drop_attempt(request: Request) -> None:
    name = _name(request, "registry_sign_in_attempt")
    keep_cookie(request, name, "", lifetime_s=0, same_site="Lax")


def _visit(request: Request, sessions: SessionsDep, issuers: IssuersDep, now: Now) -> PageVisit:
    cookie = request.cookies.get(_name(request, "registry_session"))
    attended = "unattended" not in request.query_params
    seen = None
    if cookie is not None:
        trusted = issuers.urls_to_sign_in_with
        seen = web_sessions.visit(
            sessions, cookie=cookie, now=now, issuers=trusted, attended=attended
        )
    if seen is None:
        raise UnauthenticatedError("You are not signed in, or your session has ended.")
    if seen.cookie is not None:
        keep_session(request, seen.cookie)
    request.state.visit = seen
    return seen


Visitor = Annotated[PageVisit, Depends(_visit)]

FormToken = Annotated[str, Form(max_length=128)]


async def _sent(visit: Visitor, form_token: FormToken = "") -> PageVisit:
    """Return the visit behind a form, which must carry the mark of its session."""
    if not hmac.compare_digest(form_token.encode(), visit.form_token.encode()):
        message = "The form is not of your present session; open the page again and send it there."
        raise StaleFormError(message)
    return visit


Sender = Annotated[PageVisit, Depends(_sent)]


def sign_in_mark(request: Request) -> str:
    """Return the mark of a sign-in form, which a cookie must repeat when it is sent."""
    mark = request.cookies.get(_name(request, "registry_sign_in")) or secrets.token_urlsafe(32)
    keep_cookie(request, _name(request, "registry_sign_in"), mark, lifetime_s=_SIGN_IN_LIFETIME_S)
    return mark


def require_sign_in_mark(request: Request, mark: str) -> None:
    """Raise StaleFormError unless this browser was shown the form that it sends."""
    kept = request.cookies.get(_name(request, "registry_sign_in"), "")
    if not (kept and hmac.compare_digest(kept.encode(), mark.encode())):
        raise StaleFormError("The sign-in form is too old; send it again.")


def local_path(target: str | None) -> str:
    """Return a path of these pages to go on to; anything else is the first page."""
    if target is None or not target.isprintable() or "\\" in target:
        return "/admin/"
    parts = urlsplit(target)
    inside = not parts.scheme and not parts.netloc and parts.path.startswith("/admin/")
    return target if inside and not target.startswith("//") else "/admin/"
