"""Signing in through an issuer: the form that leads there, and the address that it leads back to.

The way there begins with a form, not a link, so that no other site can begin it for somebody. Its
answer is a page that goes on by itself, not a redirect: browsers hold redirects of a form against
`form-action`, which would have to name the issuer, and every host that it in turn redirects to.
The way back ends with such a page too: a redirect would still count as the issuer's navigation,
on which the new session's `SameSite=Strict` cookie is not sent.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from app.domain.errors import NotFoundError, RegistryError, UnauthenticatedError, UnavailableError
from app.domain.identity.oidc_login import AuthorizationResponse
from app.http.deps import IssuersDep, Now, SessionsDep
from app.http.problems import STATUS
from app.pages.login.session_cookies import (
    StaleFormError,
    attempt_cookie,
    drop_attempt,
    keep_attempt,
    keep_session,
    local_path,
    require_sign_in_mark,
)
from app.pages.login.token_login import sign_in_page
from app.pages.rendering import page
from app.services.identity import oidc_login

router = APIRouter(prefix="/sign-in/{issuer}")

_LONGEST_PARAMETER: Final = 4096

_REFUSED: Final = (NotFoundError, UnauthenticatedError, UnavailableError)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why nobody was signed in, as the sign-in page says it."""

    detail: str
    title: str = "You are not signed in"


@router.post("")
def depart(
    request: Request,
    issuer: str,
    sessions: SessionsDep,
    issuers: IssuersDep,
    now: Now,
    mark: Annotated[str, Form(max_length=128)] = "",
    target: Annotated[str | None, Form(alias="next", max_length=2048)] = None,
) -> Response:
    """Send the browser to the issuer, with a cookie by which it is known again."""
    goal = local_path(target)
    try:
        require_sign_in_mark(request, mark)
        departure = oidc_login.begin(sessions, issuers, name=issuer, target=goal, now=now)
    except StaleFormError as error:
        return sign_in_page(request, issuers, goal, refusal=error, status=403)
    except _REFUSED as error:
        return _refused(request, issuers, goal, error)
    keep_attempt(request, departure.cookie)
    return page(request, "onward.html", url=departure.url, place=issuer)


@router.get("/callback")
def come_back(
    request: Request, issuer: str, sessions: SessionsDep, issuers: IssuersDep, now: Now
) -> Response:
    """Open a session if the issuer's answer holds; whatever it is, it counts once."""
    answer, cookie, goal = _answer(request), attempt_cookie(request), local_path(None)
    drop_attempt(request)
    try:
        attempt = oidc_login.taken(
            sessions, issuers, name=issuer, state=answer.state, cookie=cookie, now=now
        )
        goal = attempt.target
        visit = oidc_login.complete(
            sessions, issuers, name=issuer, answer=answer, cookie=cookie or "", now=now
        )
    except _REFUSED as error:
        return _unreferred(_refused(request, issuers, goal, error))
    keep_session(request, visit.cookie or "")
    return _unreferred(page(request, "onward.html", url=goal, place="the pages"))


def _refused(request: Request, issuers: IssuersDep, goal: str, error: RegistryError) -> Response:
    return sign_in_page(
        request, issuers, goal, refusal=_Refusal(error.detail), status=STATUS[type(error)]
    )


def _unreferred(response: Response) -> Response:
    """Keep the address, which has a code in it, from what the browser asks for next."""
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _answer(request: Request) -> AuthorizationResponse:
    """Return what the issuer sent; what comes twice or without end does not count."""

    def sent(name: str) -> str | None:
        found = request.query_params.getlist(name)
        return found[0] if len(found) == 1 and len(found[0]) <= _LONGEST_PARAMETER else None

    return AuthorizationResponse(sent("state"), sent("code"), sent("error"), sent("iss"))
