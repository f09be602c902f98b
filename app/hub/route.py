"""Refusals in the form that huggingface_hub understands: headers with a code and a message."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from app.domain import errors
from app.domain.errors import FaultyError, RegistryError
from app.http.problems import STATUS, headers_of


class RevisionNotFoundError(Exception):
    """The repository exists, but this revision of it does not."""


class EntryNotFoundError(Exception):
    """The revision exists, but has no such file."""


# The client turns these codes into its own exceptions (huggingface_hub.utils._http). It has none
# for 410, so a revoked version is a revision that is not found, with the reason in the message.
_CODES: Final[dict[type[Exception], tuple[int, str]]] = {
    errors.UnauthenticatedError: (401, "RepoNotFound"),
    errors.NotFoundError: (404, "RepoNotFound"),
    errors.ForbiddenError: (403, "GatedRepo"),
    errors.ChannelEmptyError: (404, "RevisionNotFound"),
    errors.VersionRevokedError: (404, "RevisionNotFound"),
    RevisionNotFoundError: (404, "RevisionNotFound"),
    EntryNotFoundError: (404, "EntryNotFound"),
}


class HubRoute(APIRoute):
    """A route that translates refusals for unmodified Hugging Face clients."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_refusals(request: Request) -> Response:
            try:
                return await handle(request)
            except (RegistryError, RevisionNotFoundError, EntryNotFoundError) as error:
                return refusal(error)

        return handle_refusals


def _message(error: Exception) -> str:
    """Return detail and faults as one text, since clients show no list of faults."""
    if isinstance(error, FaultyError):
        faults = " ".join(fault.message for fault in error.faults)
        return f"{error.detail} {faults}"
    return error.detail if isinstance(error, RegistryError) else str(error)


def refusal(error: Exception) -> JSONResponse:
    message = _message(error)
    status, code = _CODES.get(type(error), (500, None))
    if isinstance(error, RegistryError) and code is None:
        status = STATUS[type(error)]
    # A header is limited to one line of printable characters; the body has the original message.
    line = " ".join(message.split())[:1000]
    in_header = "".join(each if each.isascii() and each.isprintable() else "?" for each in line)
    headers = {"X-Error-Message": in_header}
    if isinstance(error, RegistryError):
        headers |= headers_of(error)
    if code is not None:
        headers["X-Error-Code"] = code
    return JSONResponse({"error": message}, status, headers)
