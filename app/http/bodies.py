"""Reading bodies: once the caller is known, up to a limit, and with one meaning."""

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

# What a field may be nested is checked, and told, where the field is.
_DEPTH_LIMIT: Final = 64

BodyModel = TypeVar("BodyModel", bound=BaseModel)


def media_type(request: Request) -> str:
    """Return the content type without its parameters, in lower case; empty if there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def small_body(request: Request, *, limit_bytes: int) -> bytes:
    """Return the whole body.

    Raises:
        TooLargeError: It has more than `limit_bytes`; no more than that is ever held.
    """
    require_size(announced_bytes(request), limit_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        require_size(len(body), limit_bytes)
    whole = bytes(body)
    await note_received(request, sha256_digest(whole))
    return whole


def announced_bytes(request: Request) -> int:
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() and announced.isascii() else 0


def require_size(size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise TooLargeError(f"The body exceeds the {limit_bytes} bytes allowed here.")


async def note_received(request: Request, body: Json) -> None:
    """Tell a request's exchange what stands for its body; a retry is answered here already."""
    if idempotent := idempotent_request_of(request):
        await run_in_threadpool(idempotent.received, body)


def parsed(model: type[BodyModel], body: bytes) -> BodyModel:
    """Return the JSON of a body or part as a wire model, or raise InvalidRequestError."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid_request(error.errors()) from error


def strictly_parsed(model: type[BodyModel], body: bytes) -> BodyModel:
    """Return the JSON object of a body as a wire model.

    Raises:
        MalformedRequestError: Readers of the JSON could disagree about it, or choke on it.
        InvalidRequestError: It is no object, or not what the model describes.
    """
    try:
        return model.model_validate(read_object(body, depth_limit=_DEPTH_LIMIT))
    except NotStrictJsonError as error:
        message = f"The body cannot be read: {error}."
        if error.problem is JsonProblem.NOT_AN_OBJECT:
            raise InvalidRequestError(message, [Fault("no-object", message)]) from error
        raise MalformedRequestError(message) from error
    except ValidationError as error:
        raise invalid_request(error.errors()) from error


class JsonBodyReader:
    """Reads a JSON body once the caller is known; FastAPI's own reading would not wait for that."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model

    async def __call__(self, request: Request, _caller: Caller, limits: LimitsDep) -> BaseModel:
        kind = media_type(request)
        if kind != "application/json" and not kind.endswith("+json"):
            raise UnsupportedMediaTypeError("Send the body as application/json.")
        body = await small_body(request, limit_bytes=limits.metadata_bytes)
        return await run_in_threadpool(strictly_parsed, self.model, body)


if TYPE_CHECKING:
    JsonBody = Annotated[BodyModel, "the JSON body"]
else:

    class JsonBody:
        """`Sent[Model]` is the JSON body of a request, as an endpoint's parameter."""

        def __class_getitem__(cls, model: type[BaseModel]) -> object:
            return Annotated[model, Depends(JsonBodyReader(model))]
