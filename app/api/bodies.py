"""Reading small bodies by hand, where FastAPI's own reading knows no limit or no format."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from app.domain.errors import TooLargeError
from app.problems import invalid_request


def media_type(request: Request) -> str:
    """Return the content type without its parameters, in lower case; empty if there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def small_body(request: Request, *, limit_bytes: int) -> bytes:
    """Return the whole body.

    Raises:
        TooLargeError: It has more than `limit_bytes`; no more than that is ever held.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise TooLargeError(f"The body exceeds the {limit_bytes} bytes allowed here.")
    return bytes(body)


Wire = TypeVar("Wire", bound=BaseModel)


def parsed(model: type[Wire], body: bytes) -> Wire:
    """Return the JSON of a body or part as a wire model, or raise InvalidRequestError."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid_request(error.errors()) from error
