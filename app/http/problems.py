"""Refusals as RFC 9457 problem documents: one table from error to status code."""

import errno
import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from traceback import extract_tb
from typing import Any, Final, TypeVar, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from psycopg.errors import (
    DeadlockDetected,
    LockNotAvailable,
    QueryCanceled,
    SerializationFailure,
)
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from app.domain import errors
from app.domain.errors import Fault, InvalidRequestError, MalformedRequestError, RegistryError
from app.services.idempotency import StoredResponseFound

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
    errors.RequestTimeoutError: 408,
    errors.AlreadyExistsError: 409,
    errors.AlreadyReviewedError: 409,
    errors.AnswerNotKeptError: 409,
    errors.AlreadyVoidError: 409,
    errors.BaseModelDiffersError: 409,
    errors.BaseModelMismatchError: 409,
    errors.CheckpointsNotConfiguredError: 409,
    errors.EvidenceForAnotherArtifactError: 409,
    errors.EvidenceReusedError: 409,
    errors.GateNotConfiguredError: 409,
    errors.GateNotPassedError: 409,
    errors.InvalidTransitionError: 409,
    errors.NothingToChangeError: 409,
    errors.PolicyUnsatisfiableError: 409,
    errors.PrincipalDeactivatedError: 409,
    errors.QuotaExceededError: 409,
    errors.RequestInFlightError: 409,
    errors.SubjectChangedError: 409,
    errors.UploadIncompleteError: 409,
    errors.VersionRevokedError: 410,
    errors.PreconditionFailedError: 412,
    errors.TooLargeError: 413,
    errors.UnsupportedMediaTypeError: 415,
    errors.RangeNotSatisfiableError: 416,
    errors.IdempotencyKeyReusedError: 422,
    errors.InvalidAllocationError: 422,
    errors.InvalidArtifactError: 422,
    errors.InvalidEvaluationError: 422,
    errors.InvalidPolicyError: 422,
    errors.InvalidRequestError: 422,
    errors.InvalidSuiteError: 422,
    errors.UnknownBaseModelError: 422,
    errors.UnknownReferenceError: 422,
    errors.TooManyRequestsError: 429,
    errors.HeadersTooLargeError: 431,
    errors.AuditLogBrokenError: 500,
    errors.DamagedObjectError: 500,
    errors.TooManyConnectionsError: 503,
    errors.UnavailableError: 503,
}

# Codes of refusals by the framework itself, before an endpoint is reached.
_FRAMEWORK_CODES: Final = {
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
}


_DISK_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_SAFE: Final = {"GET", "HEAD", "OPTIONS"}

# The database rolled back a transaction because of a deadlock, a conflict or a lock timeout.
_CONTENTION: Final = (DeadlockDetected, LockNotAvailable, QueryCanceled, SerializationFailure)


class Problem(BaseModel):
    """A problem document (RFC 9457). Further members carry details, such as `faults`."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


def returns_existing(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Document the response of a creation whose object already exists with the same content."""
    return {200: {"model": model, "description": "It existed already; nothing was changed."}}


_USUAL: Final = (
    errors.MalformedRequestError,
    errors.UnauthenticatedError,
    errors.InvalidRequestError,
    errors.TooManyRequestsError,
    errors.UnavailableError,
)


def refuses(
    *refusals: type[RegistryError], usual: Sequence[type[RegistryError]] = _USUAL
) -> dict[int | str, dict[str, Any]]:
    """Document, in OpenAPI, the refusals of an endpoint in addition to the usual ones."""
    titles: dict[int, list[str]] = {}
    for error in (*usual, *refusals):
        titles.setdefault(STATUS[error], []).append(f"`{error.code}`: {error.title}")
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": "; ".join(of_status), "content": content}
        for status, of_status in sorted(titles.items())
    }


def problem(
    status: int, code: str, title: str, detail: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return a problem document for a failure that is not a RegistryError."""
    document = Problem(type=f"/problems/{code}", title=title, status=status, detail=detail)
    return JSONResponse(document.model_dump(), status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Turn every refusal and every failure of `app` into a problem document."""
    handle_with(app, RegistryError, _refused)
    handle_with(app, RequestValidationError, _invalid)
    handle_with(app, HTTPException, _framework_refused)
    handle_with(app, DBAPIError, database_failed)
    handle_with(app, PoolTimeoutError, database_failed)
    handle_with(app, OSError, _disk_failed)
    handle_with(app, StoredResponseFound, _replayed)
    handle_with(app, ClientDisconnect, _disconnected)
    handle_with(app, Exception, failed)


def handle_with(app: FastAPI, kind: type[E], handler: Callable[[Request, E], Response]) -> None:
    """Register a handler. Starlette's type is wider, but it passes only errors of `kind`."""
    app.add_exception_handler(kind, cast("Callable[[Request, Exception], Response]", handler))


def document_of(error: RegistryError) -> dict[str, Any]:
    """Return a refusal as a problem document."""
    return Problem(
        type=f"/problems/{error.code}",
        title=error.title,
        status=STATUS[type(error)],
        detail=error.detail,
        **error.members,
    ).model_dump()


def respond(error: RegistryError) -> JSONResponse:
    status = STATUS[type(error)]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s: %s", error.code, error.detail)
    return JSONResponse(document_of(error), status, headers_of(error), media_type=MEDIA_TYPE)


def headers_of(error: RegistryError) -> dict[str, str]:
    """Return the headers that HTTP requires or suggests with a refusal."""
    match error:
        case errors.RangeNotSatisfiableError():
            return {"Content-Range": f"bytes */{error.members['size_bytes']}"}
        case errors.RequestTimeoutError():
            return {"Connection": "close"}
        case errors.UnauthenticatedError():
            return {"WWW-Authenticate": "Bearer"}
        case errors.UnavailableError() | errors.TooManyConnectionsError():
            return {"Retry-After": "2"}
        case errors.RequestInFlightError() | errors.TooManyRequestsError():
            return {"Retry-After": "1"}
    return {}


def _refused(_request: Request, error: RegistryError) -> JSONResponse:
    return respond(error)


def _replayed(_request: Request, known: StoredResponseFound) -> Response:
    headers = {**known.response.headers, "Idempotent-Replayed": "true"}
    return Response(known.response.body, known.response.status, headers)


def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
    return respond(invalid_request(error.errors()))


def invalid_request(found: Sequence[Any]) -> RegistryError:
    """Return the refusal for the errors that pydantic found in a request."""
    if any(error["type"] == "json_invalid" for error in found):
        return MalformedRequestError("The body is not valid JSON.")
    faults = [Fault(error["type"], f"{_where(error['loc'])}: {error['msg']}") for error in found]
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
        detail, headers = f"{request.url.path} allows {allowed}.", {"Allow": allowed}
    return problem(status, code, status.phrase, detail, headers=headers)


def _allowed(request: Request) -> str:
    """Return the methods of all endpoints at a path; the router's error names those of one."""
    matching = [
        route.methods or set()
        for route in iter_route_contexts(request.app.routes)
        if route.matches(request.scope)[0] is Match.PARTIAL
    ]
    return ", ".join(sorted(set().union(*matching)))


def database_failed(request: Request, error: DBAPIError | PoolTimeoutError) -> JSONResponse:
    refusal = database_refusal(error, request.method)
    return failed(request, error) if refusal is None else respond(refusal)


def database_refusal(error: DBAPIError | PoolTimeoutError, method: str) -> RegistryError | None:
    """Return the refusal for an unavailable or busy database; None for an error in a statement."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        message = "The connection to the database was lost."
        if method not in _SAFE:
            # The database may have committed before the connection was lost.
            message += (
                " The request may have taken effect: check before you repeat it, or send it with "
                "an Idempotency-Key."
            )
    elif isinstance(error, DBAPIError) and isinstance(error.orig, _CONTENTION):
        message = "A concurrent request changes the same data; nothing was changed. Retry shortly."
    elif isinstance(error, OperationalError | PoolTimeoutError):
        message = "The database does not respond; nothing was changed. Retry shortly."
    else:
        return None
    _log.error("the database is unavailable: %s", cause_of(error))
    return errors.UnavailableError(message)


def _disk_failed(request: Request, error: OSError) -> JSONResponse:
    """Respond 503 if the disk for received files is full; it is empty again after a while."""
    if error.errno not in _DISK_FULL:
        return failed(request, error)
    _log.error("the disk for temporary files is full: %s", cause_of(error))
    message = "The registry has no room for this request at present; nothing was changed."
    return respond(errors.UnavailableError(message))


def _disconnected(_request: Request, _error: ClientDisconnect) -> JSONResponse:
    """Return a response for the metrics; the client has disconnected and cannot read it."""
    message = "The client disconnected before the request was complete."
    return respond(MalformedRequestError(message))


def failed(request: Request, error: Exception) -> JSONResponse:
    """Log an unexpected error and respond 500, both without its message: it may hold a secret."""
    _log.error("%s %s failed: %s", request.method, request.url.path, cause_of(error))
    detail = "The registry failed. Its log has the cause under this response's X-Request-Id."
    return problem(500, "internal-error", "The registry failed", detail)


def cause_of(error: BaseException) -> str:
    """Return the chain of errors and their places in the code, without their messages."""
    kind = type(error).__name__
    if state := getattr(getattr(error, "orig", None), "sqlstate", None):
        kind += f" [{state}]"
    places = " > ".join(
        f"{frame.filename.rpartition('/app/')[2]}:{frame.lineno}"
        for frame in extract_tb(error.__traceback__)
        if "/app/" in frame.filename
    )
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    because = "" if before is None else f", after {cause_of(before)}"
    return f"{kind} at {places or 'no place in app/'}{because}"
