"""Reading request bodies: after authentication, up to a limit, and strictly parsed."""

from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from fastapi import Depends
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.domain.errors import (
    Fault,
    InvalidRequestError,
    MalformedRequestError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from app.domain.naming import Json, sha256_digest
from app.domain.strict_json import JsonProblem, NotStrictJsonError, read_object
from app.http.deps import Caller, LimitsDep, idempotent_request_of
from app.http.problems import invalid_request

# Each JSON field checks its own, lower limit, so that the refusal can name the field.
_DEPTH_LIMIT: Final = 64

OVERHEAD_BYTES: Final = 1 << 16
"""Most bytes of a multipart body that are boundaries and headers of parts."""

BodyModel = TypeVar("BodyModel", bound=BaseModel)


def media_type(request: Request) -> str:
    """Return the content type without its parameters, in lower case; empty if there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def small_body(request: Request, *, limit_bytes: int) -> bytes:
    """Return the whole body.

    Raises:
        TooLargeError: It exceeds `limit_bytes`; reading stops there.
    """
    require_size(announced_bytes(request), limit_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        require_size(len(body), limit_bytes)
    content = bytes(body)
    await note_body_digest(request, sha256_digest(content))
    return content


def announced_bytes(request: Request) -> int:
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() and announced.isascii() else 0


def require_size(size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise TooLargeError(f"The body exceeds the {limit_bytes} bytes allowed here.")


async def note_body_digest(request: Request, digest: Json) -> None:
    """Add the digest of the body to an idempotent request; a retry ends here."""
    if idempotent := idempotent_request_of(request):
        await run_in_threadpool(idempotent.check_body, digest)


def parsed(
    model: type[BodyModel], body: bytes, *, named: str = "The body", finite: bool = True
) -> BodyModel:
    """Return the JSON object of a body or part as a request model; messages call it `named`.

    Unless numbers must be `finite`, NaN is refused later, with a fault that names its place.
    This takes a moment for a large body, so call it in a thread.

    Raises:
        MalformedRequestError: The JSON is invalid, ambiguous or nested too deep.
        InvalidRequestError: The JSON is not an object, or does not match the model.
    """
    try:
        return model.model_validate(read_object(body, depth_limit=_DEPTH_LIMIT, finite=finite))
    except NotStrictJsonError as error:
        message = f"{named} cannot be read: {error}."
        if error.problem is JsonProblem.NOT_AN_OBJECT:
            raise InvalidRequestError(message, [Fault("no-object", message)]) from error
        raise MalformedRequestError(message) from error
    except ValidationError as error:
        raise invalid_request(error.errors()) from error


class JsonBodyReader:
    """Reads a JSON body after authentication; FastAPI's own body parameters are read before it."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model

    async def __call__(self, request: Request, _caller: Caller, limits: LimitsDep) -> BaseModel:
        kind = media_type(request)
        if kind != "application/json" and not kind.endswith("+json"):
            raise UnsupportedMediaTypeError("Send the body as application/json.")
        body = await small_body(request, limit_bytes=limits.metadata_bytes)
        return await run_in_threadpool(parsed, self.model, body)


if TYPE_CHECKING:
    JsonBody = Annotated[BodyModel, "the JSON body"]
else:

    class JsonBody:
        """`JsonBody[Model]` as an endpoint's parameter is the JSON body of the request."""

        def __class_getitem__(cls, model: type[BaseModel]) -> object:
            return Annotated[model, Depends(JsonBodyReader(model))]
