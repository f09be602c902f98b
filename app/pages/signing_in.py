"""Signing in with a token, and out."""

from typing import Annotated, Final

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response

from app.deps import Now, SessionsDep
from app.domain.errors import UnauthenticatedError
from app.pages.rendering import page, redirect
from app.pages.visits import (
    Sender,
    StaleFormError,
    drop_session,
    keep_session,
    local_path,
    require_sign_in_mark,
    sign_in_mark,
)
from app.services import web_sessions

router = APIRouter()

_STATUS: Final = {type(None): 200, StaleFormError: 403, UnauthenticatedError: 401}


@router.get("/sign-in")
def sign_in_form(
    request: Request, target: Annotated[str | None, Query(alias="next", max_length=2048)] = None
) -> Response:
    return _form(request, local_path(target), asked=target is not None)


@router.post("/sign-in")
def sign_in(
    request: Request,
    sessions: SessionsDep,
    now: Now,
    token: Annotated[str, Form(max_length=256)] = "",
    mark: Annotated[str, Form(max_length=128)] = "",
    target: Annotated[str | None, Form(alias="next", max_length=2048)] = None,
) -> Response:
    """Open a session for a token; the token itself is kept nowhere."""
    try:
        require_sign_in_mark(request, mark)
        visit = web_sessions.sign_in(sessions, token=token.strip(), now=now)
    except (StaleFormError, UnauthenticatedError) as error:
        return _form(request, local_path(target), refusal=error)
    keep_session(request, visit.cookie or "")
    return redirect(request, local_path(target))


@router.post("/sign-out")
def sign_out(request: Request, visit: Sender, sessions: SessionsDep, now: Now) -> Response:
    web_sessions.sign_out(sessions, visit=visit, now=now)
    drop_session(request)
    return redirect(request, "/admin/sign-in")


def _form(
    request: Request,
    target: str,
    *,
    asked: bool = False,
    refusal: StaleFormError | UnauthenticatedError | None = None,
) -> Response:
    return page(
        request,
        "sign_in.html",
        status=_STATUS[type(refusal)],
        mark=sign_in_mark(request),
        target=target,
        asked=asked,
        refusal=refusal,
    )
