"""Sign-in through an issuer: the form that starts it, and the callback that completes it.

The sign-in starts with a form, not a link, so that no other site can start it in a user's browser.
The response is a page that refreshes to the issuer, not a redirect: browsers apply `form-action`
to redirects after a form, so the policy would have to name the issuer and every host to which the
issuer redirects. The callback ends with such a page too: a redirect would count as part of the
issuer's navigation, on which browsers do not send the new `SameSite=Strict` session cookie.
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
    clear_attempt_cookie,
    local_path,
    require_sign_in_csrf_token,
    set_attempt_cookie,
    set_session_cookie,
)
from app.pages.login.token_login import sign_in_page
from app.pages.rendering import page
from app.services.identity import oidc_login

router = APIRouter(prefix="/sign-in/{issuer}")

_LONGEST_PARAMETER: Final = 4096

_REFUSED: Final = (NotFoundError, UnauthenticatedError, UnavailableError)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The reason why the sign-in failed, as the sign-in page shows it."""

    detail: str
    title: str = "You are not signed in"


@router.post("")
def begin_sign_in(
    request: Request,
    issuer: str,
    sessions: SessionsDep,
    issuers: IssuersDep,
    now: Now,
    form_token: Annotated[str, Form(max_length=128)] = "",
    target: Annotated[str | None, Form(alias="next", max_length=2048)] = None,
) -> Response:
    """Send the browser to the issuer, with a cookie that ties the attempt to this browser."""
    goal = local_path(target)
    try:
        require_sign_in_csrf_token(request, form_token)
        departure = oidc_login.begin(sessions, issuers, name=issuer, target=goal, now=now)
    except StaleFormError as error:
        return sign_in_page(request, issuers, goal, refusal=error, status=403)
    except _REFUSED as error:
        return _refused(request, issuers, goal, error)
    set_attempt_cookie(request, departure.cookie)
    return page(request, "onward.html", url=departure.url, place=issuer)


@router.get("/callback")
def callback(
    request: Request, issuer: str, sessions: SessionsDep, issuers: IssuersDep, now: Now
) -> Response:
    """Open a session if the issuer's response is valid; each response is accepted once at most."""
    response, cookie = _authorization_response(request), attempt_cookie(request)
    goal = local_path(None)
    clear_attempt_cookie(request)
    try:
        attempt = oidc_login.claim_attempt(
            sessions, issuers, name=issuer, state=response.state, cookie=cookie
        )
        goal = attempt.target
        visit = oidc_login.complete(
            sessions, issuers, name=issuer, answer=response, cookie=cookie or "", now=now
        )
    except _REFUSED as error:
        return _without_referrer(_refused(request, issuers, goal, error))
    set_session_cookie(request, visit.cookie or "")
    return _without_referrer(page(request, "onward.html", url=goal, place="the pages"))


def _refused(request: Request, issuers: IssuersDep, goal: str, error: RegistryError) -> Response:
    return sign_in_page(
        request, issuers, goal, refusal=_Refusal(error.detail), status=STATUS[type(error)]
    )


def _without_referrer(response: Response) -> Response:
    """Keep the callback's URL, which contains a code, out of the browser's next requests."""
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _authorization_response(request: Request) -> AuthorizationResponse:
    """Return the issuer's parameters; repeated and overlong ones are ignored."""

    def parameter(name: str) -> str | None:
        found = request.query_params.getlist(name)
        return found[0] if len(found) == 1 and len(found[0]) <= _LONGEST_PARAMETER else None

    return AuthorizationResponse(
        parameter("state"), parameter("code"), parameter("error"), parameter("iss")
    )
