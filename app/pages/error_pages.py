"""Refusals and failures as pages, with the status and message of the API."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from app.domain.errors import FaultyError, NotFoundError, RegistryError, UnauthenticatedError
from app.http.problems import STATUS, cause_of, database_refusal, handle_with, invalid_request
from app.pages.login.session_cookies import StaleFormError, Visitor
from app.pages.rendering import page
from app.services.identity.web_sessions import PageVisit

T = TypeVar("T")

_log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Render every refusal and every failure under /admin as a page."""
    handle_with(app, RegistryError, refused)
    handle_with(app, StaleFormError, _stale)
    handle_with(app, RequestValidationError, _invalid)
    handle_with(app, HTTPException, _framework_refused)
    handle_with(app, DBAPIError, _database_failed)
    handle_with(app, PoolTimeoutError, _database_failed)
    handle_with(app, Exception, _failed)


def page_not_found(visit: Visitor) -> Response:
    """Answer 404 at unknown paths; without a session, Visitor redirects to the sign-in page."""
    raise NotFoundError(f"There is no such page, {visit.caller.name}.")


def refused(request: Request, error: RegistryError) -> Response:
    if isinstance(error, UnauthenticatedError):
        return redirect_to_sign_in(request)
    status = STATUS[type(error)]
    faults = [fault.message for fault in error.faults] if isinstance(error, FaultyError) else []
    return _refusal(request, status, error.title, error.detail, faults)


def redirect_or_refuse(
    act: Callable[[], T], *, done: Callable[[T], str], refused: Callable[[RegistryError], Response]
) -> Response:
    """Act and redirect to the page `done`; show a refusal on the page that had the form.

    A caller whose session has ended gets the sign-in page instead, as at every other page.
    """
    try:
        result = act()
    except UnauthenticatedError:
        raise
    except RegistryError as refusal:
        return refused(refusal)
    return RedirectResponse(done(result), status_code=HTTPStatus.SEE_OTHER)


def redirect_to_sign_in(request: Request) -> Response:
    """Redirect to the sign-in page, which leads back to the requested page or the form's page."""
    url = request.url.remove_query_params("unattended")
    if request.method != "GET":
        url = request.url.replace(path=urlsplit(request.headers.get("Referer", "")).path, query="")
    target = url.path + (f"?{url.query}" if url.query else "")
    path = f"/admin/sign-in?next={quote(target, safe='')}"
    if "HX-Request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": path})
    return Response(status_code=303, headers={"Location": path})


def _refusal(
    request: Request, status: int, title: str, detail: str, faults: list[str] | None = None
) -> Response:
    visit: PageVisit | None = getattr(request.state, "visit", None)
    return page(
        request,
        "refused.html",
        status=status,
        visit=visit,
        title=title,
        detail=detail,
        faults=faults or [],
    )


def _stale(request: Request, error: StaleFormError) -> Response:
    return _refusal(request, HTTPStatus.FORBIDDEN, error.title, error.detail)


def _invalid(request: Request, error: RequestValidationError) -> Response:
    in_path = any(fault["loc"][:1] == ("path",) for fault in error.errors())
    if in_path:
        return refused(request, NotFoundError("There is no such page."))
    return refused(request, invalid_request(error.errors()))


def _framework_refused(request: Request, error: HTTPException) -> Response:
    if isinstance(error.__cause__, RegistryError):
        return refused(request, error.__cause__)  # raised while the form was read
    status = HTTPStatus(error.status_code)
    if status == HTTPStatus.NOT_FOUND:
        return refused(request, NotFoundError("There is no such page."))
    return _refusal(request, status, status.phrase, f"This page does not support {request.method}.")


def _database_failed(request: Request, error: DBAPIError | PoolTimeoutError) -> Response:
    refusal = database_refusal(error, request.method)
    return _failed(request, error) if refusal is None else refused(request, refusal)


def _failed(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed: %s", request.method, request.url.path, cause_of(error))
    detail = "The registry failed. Its log has the cause, under the X-Request-Id of this response."
    return _refusal(request, 500, "The registry failed", detail)
