"""Sign-in with an API token, and sign-out."""

from typing import Annotated, Final, Protocol

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response

from app.domain.errors import UnauthenticatedError
from app.http.deps import IssuersDep, SessionsDep
from app.oidc.issuers import Issuers
from app.pages.login.admission import SessionRoute
from app.pages.login.session_cookies import (
    Sender,
    StaleFormError,
    clear_session_cookie,
    local_path,
    require_sign_in_csrf_token,
    set_session_cookie,
    sign_in_csrf_token,
)
from app.pages.rendering import page, redirect
from app.services.identity import web_sessions

router = APIRouter()
sign_out_router = APIRouter(route_class=SessionRoute)

_STATUS: Final = {StaleFormError: 403, UnauthenticatedError: 401}


class Refusal(Protocol):
    """The reason why the sign-in failed."""

    @property
    def title(self) -> str: ...
    @property
    def detail(self) -> str: ...


@router.get("/sign-in")
def sign_in_form(
    request: Request,
    issuers: IssuersDep,
    target: Annotated[str | None, Query(alias="next", max_length=2048)] = None,
) -> Response:
    return sign_in_page(request, issuers, local_path(target), redirected=target is not None)


@router.post("/sign-in")
def sign_in(
    request: Request,
    sessions: SessionsDep,
    issuers: IssuersDep,
    token: Annotated[str, Form(max_length=256)] = "",
    form_token: Annotated[str, Form(max_length=128)] = "",
    target: Annotated[str | None, Form(alias="next", max_length=2048)] = None,
) -> Response:
    """Open a session for a token; the token itself is not stored."""
    try:
        require_sign_in_csrf_token(request, form_token)
        visit = web_sessions.sign_in(sessions, token=token.strip())
    except (StaleFormError, UnauthenticatedError) as error:
        status = _STATUS[type(error)]
        return sign_in_page(request, issuers, local_path(target), refusal=error, status=status)
    set_session_cookie(request, visit.cookie or "")
    return redirect(request, local_path(target))


@sign_out_router.post("/sign-out")
def sign_out(request: Request, visit: Sender, sessions: SessionsDep) -> Response:
    web_sessions.sign_out(sessions, visit=visit)
    clear_session_cookie(request)
    return redirect(request, "/admin/sign-in")


def sign_in_page(
    request: Request,
    issuers: Issuers,
    target: str,
    *,
    redirected: bool = False,
    refusal: Refusal | None = None,
    status: int = 200,
) -> Response:
    """Render the page with every way to sign in; with `refusal`, also why an attempt failed."""
    return page(
        request,
        "sign_in.html",
        status=status,
        form_token=sign_in_csrf_token(request),
        target=target,
        redirected=redirected,
        issuers=issuers.login_names,
        refusal=refusal,
    )
