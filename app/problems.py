"""Refusals as RFC 9457 problem documents: one table from error to status code."""

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from app.domain import errors
from app.domain.errors import Fault, InvalidRequestError, MalformedRequestError, RegistryError

E = TypeVar("E", bound=Exception)

MEDIA_TYPE: Final = "application/problem+json"
_log = logging.getLogger(__name__)

STATUS: Final[dict[type[RegistryError], int]] = {
    errors.MalformedRequestError: 400,
    errors.UnauthenticatedError: 401,
    errors.ForbiddenError: 403,
    errors.SeparationOfDutiesError: 403,
    errors.NotFoundError: 404,
    errors.ChannelEmptyError: 404,
    errors.AlreadyExistsError: 409,
    errors.AlreadyReviewedError: 409,
    errors.AlreadyVoidError: 409,
    errors.BaseModelDiffersError: 409,
    errors.BaseModelMismatchError: 409,
    errors.EvidenceForAnotherArtifactError: 409,
    errors.GateNotConfiguredError: 409,
    errors.GateNotPassedError: 409,
    errors.InvalidTransitionError: 409,
    errors.NothingToChangeError: 409,
    errors.PolicyUnsatisfiableError: 409,
    errors.UploadIncompleteError: 409,
    errors.VersionRevokedError: 410,
    errors.TooLargeError: 413,
    errors.UnsupportedMediaTypeError: 415,
    errors.RangeNotSatisfiableError: 416,
    errors.InvalidAllocationError: 422,
    errors.InvalidArtifactError: 422,
    errors.InvalidEvaluationError: 422,
    errors.InvalidPolicyError: 422,
    errors.InvalidRequestError: 422,
    errors.InvalidSuiteError: 422,
    errors.UnknownBaseModelError: 422,
    errors.UnknownReferenceError: 422,
    errors.DamagedObjectError: 500,
    errors.UnavailableError: 503,
}

# What the framework refuses before an endpoint is reached.
_FRAMEWORK_CODES: Final = {
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
}


class Problem(BaseModel):
    """RFC 9457. Further members carry facts, such as `faults` or `findings`."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


def refuses(*refusals: type[RegistryError]) -> dict[int | str, dict[str, Any]]:
    """Document, in OpenAPI, the refusals an endpoint may answer with besides the usual ones."""
    usual: tuple[type[RegistryError], ...] = (
        errors.MalformedRequestError,
        errors.UnauthenticatedError,
        errors.InvalidRequestError,
        errors.UnavailableError,
    )
    titles: dict[int, list[str]] = {}
    for error in (*usual, *refusals):
        titles.setdefault(STATUS[error], []).append(f"`{error.code}`: {error.title}")
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": "; ".join(of_status), "content": content}
        for status, of_status in sorted(titles.items())
    }


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    facts: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    document = Problem(
        type=f"/problems/{code}", title=title, status=status, detail=detail, **(facts or {})
    )
    return JSONResponse(document.model_dump(), status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every refusal and every failure of `app` as a problem document."""
    _answer(app, RegistryError, _refused)
    _answer(app, RequestValidationError, _invalid)
    _answer(app, HTTPException, _framework_refused)
    _answer(app, DBAPIError, _database_failed)
    _answer(app, PoolTimeoutError, _database_failed)
    _answer(app, ClientDisconnect, _gone)
    _answer(app, Exception, _failed)


def _answer(app: FastAPI, kind: type[E], handler: Callable[[Request, E], JSONResponse]) -> None:
    """Register a handler; Starlette calls it with errors of `kind` only, but types it wider."""
    app.add_exception_handler(kind, cast("Callable[[Request, Exception], JSONResponse]", handler))


def respond(error: RegistryError) -> JSONResponse:
    status = STATUS[type(error)]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s: %s", error.code, error.detail)
    return problem(status, error.code, error.title, error.detail, error.facts, _headers(status))


def _headers(status: int) -> dict[str, str] | None:
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": "2"}
    return None


def _refused(_request: Request, error: RegistryError) -> JSONResponse:
    return respond(error)


def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
    return respond(invalid_request(error.errors()))


def invalid_request(found: Sequence[Any]) -> RegistryError:
    """Return the refusal for what pydantic found wrong with a request."""
    if any(each["type"] == "json_invalid" for each in found):
        return MalformedRequestError("The body is not valid JSON.")
    faults = [Fault(each["type"], f"{_where(each['loc'])}: {each['msg']}") for each in found]
    first = f" ({faults[0].message})" if faults else ""
    return InvalidRequestError(f"{len(faults)} field(s) are invalid{first}; see faults.", faults)


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in location) or "body"


def _framework_refused(request: Request, error: HTTPException) -> JSONResponse:
    status = HTTPStatus(error.status_code)
    code = _FRAMEWORK_CODES.get(status, "malformed-request")
    detail = f"{request.method} {request.url.path}: {status.phrase}."
    headers = error.headers
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _allowed(request)
        detail, headers = f"{request.url.path} answers {allowed}.", {"Allow": allowed}
    return problem(status, code, status.phrase, detail, headers=headers)


def _allowed(request: Request) -> str:
    """Return the methods that a path answers; the router names those of one endpoint only."""
    matching = [
        route.methods or set()
        for route in iter_route_contexts(request.app.routes)
        if route.matches(request.scope)[0] is Match.PARTIAL
    ]
    return ", ".join(sorted(set().union(*matching)))


def _database_failed(request: Request, error: DBAPIError | PoolTimeoutError) -> JSONResponse:
    refusal = unanswered(error)
    return _failed(request, error) if refusal is None else respond(refusal)


def unanswered(error: DBAPIError | PoolTimeoutError) -> RegistryError | None:
    """Tell a database that is away, or too busy, from a statement of ours that is wrong."""
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if not (lost or isinstance(error, OperationalError | PoolTimeoutError)):
        return None
    _log.error("the database did not answer: %s", type(error).__name__)
    message = "The database does not answer now; nothing was changed. Try again shortly."
    return errors.UnavailableError(message)


def _gone(_request: Request, _error: ClientDisconnect) -> JSONResponse:
    """Nobody reads this: the client hung up while it was sending."""
    return respond(MalformedRequestError("The client hung up before the request was complete."))


def _failed(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    detail = "The registry failed; nothing was changed. Its log has the cause."
    return problem(500, "internal-error", "The registry failed", detail)
