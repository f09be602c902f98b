"""The session of a page's visitor, its cookies, and the CSRF tokens of the forms."""

import hmac
import re
import secrets
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends, Form, Request

from app.domain.errors import UnauthenticatedError
from app.domain.identity.oidc_login import ATTEMPT_LIFETIME
from app.http.deps import IssuersDep, PartsDep, SessionsDep, transactions_of
from app.pages.security_headers import is_https, set_cookie
from app.services.identity import web_sessions
from app.services.identity.web_sessions import PageVisit
from app.services.transactions import Transactions


class StaleFormError(Exception):
    """The form lacks the CSRF token of the session, so a page of that session did not send it."""

    title: Final = "The form does not belong to this session"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


_LIFETIME_S: Final = int(web_sessions.LONGEST_LIFETIME.total_seconds())
_SIGN_IN_LIFETIME_S: Final = 3600
_SIGN_IN_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_ATTEMPT_LIFETIME_S: Final = int(ATTEMPT_LIFETIME.total_seconds())


def _name(request: Request, kind: str) -> str:
    """Return a cookie's name; over TLS, one that no other host of the domain can set."""
    return f"__Host-{kind}" if is_https(request) else kind


def set_session_cookie(request: Request, cookie: str) -> None:
    set_cookie(request, _name(request, "registry_session"), cookie, lifetime_s=_LIFETIME_S)


def clear_session_cookie(request: Request) -> None:
    set_cookie(request, _name(request, "registry_session"), "", lifetime_s=0)


def set_attempt_cookie(request: Request, cookie: str) -> None:
    """Set the cookie that ties a sign-in at an issuer to this browser until the callback.

    The callback is a navigation from another site, on which browsers do not send `Strict`
    cookies. The path is not narrower than that of the other cookies: `__Host-` forbids it, and
    that prefix, unlike a path, prevents other hosts of the domain from planting an attempt.
    """
    name = _name(request, "registry_sign_in_attempt")
    set_cookie(request, name, cookie, lifetime_s=_ATTEMPT_LIFETIME_S, same_site="Lax")


def attempt_cookie(request: Request) -> str | None:
    return request.cookies.get(_name(request, "registry_sign_in_attempt"))


def clear_attempt_cookie(request: Request) -> None:
    name = _name(request, "registry_sign_in_attempt")
    set_cookie(request, name, "", lifetime_s=0, same_site="Lax")


def visit_of(request: Request, sessions: SessionsDep, issuers: IssuersDep) -> PageVisit:
    """Return the visit behind the session cookie; it is looked up once in each request.

    Raises:
        UnauthenticatedError: There is no session.
    """
    known: PageVisit | None = getattr(request.state, "visit", None)
    if known is not None:
        return known
    cookie = request.cookies.get(_name(request, "registry_session"))
    attended = "unattended" not in request.query_params
    visit = None
    if cookie is not None:
        trusted = issuers.login_urls
        visit = web_sessions.visit(sessions, cookie=cookie, issuers=trusted, attended=attended)
    if visit is None:
        raise UnauthenticatedError("You are not signed in, or your session has ended.")
    if visit.cookie is not None:
        set_session_cookie(request, visit.cookie)
    request.state.visit = visit
    return visit


Visitor = Annotated[PageVisit, Depends(visit_of)]

FormToken = Annotated[str, Form(max_length=128)]


async def _form_visit(visit: Visitor, form_token: FormToken = "") -> PageVisit:
    """Return the visit behind a form, which must carry the CSRF token of its session."""
    if not hmac.compare_digest(form_token.encode(), visit.form_token.encode()):
        message = "The form does not belong to your current session; reload the page and resend it."
        raise StaleFormError(message)
    return visit


Sender = Annotated[PageVisit, Depends(_form_visit)]


async def _form_transactions(request: Request, parts: PartsDep, visit: Sender) -> Transactions:
    return transactions_of(request, parts, visit.caller)


SenderTransactions = Annotated[Transactions, Depends(_form_transactions)]


def sign_in_csrf_token(request: Request) -> str:
    """Return the CSRF token of a sign-in form, and set it as a cookie that must match the form.

    A cookie that this function cannot have set is replaced: its value would become a header.
    """
    name = _name(request, "registry_sign_in")
    known = request.cookies.get(name, "")
    token = known if _SIGN_IN_TOKEN.fullmatch(known) else secrets.token_urlsafe(32)
    set_cookie(request, name, token, lifetime_s=_SIGN_IN_LIFETIME_S)
    return token


def require_sign_in_csrf_token(request: Request, token: str) -> None:
    """Raise StaleFormError unless the form's CSRF token matches this browser's cookie."""
    expected = request.cookies.get(_name(request, "registry_sign_in"), "")
    if not (expected and hmac.compare_digest(expected.encode(), token.encode())):
        raise StaleFormError("The sign-in form is too old; send it again.")


def local_path(target: str | None) -> str:
    """Return `target` if it is a path of these pages, otherwise the overview's path."""
    if target is None or not target.isprintable() or "\\" in target:
        return "/admin/"
    parts = urlsplit(target)
    inside = not parts.scheme and not parts.netloc and parts.path.startswith("/admin/")
    return target if inside and not target.startswith("//") else "/admin/"
