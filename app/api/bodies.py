"""Reading small bodies by hand, where FastAPI's own reading knows no limit or no format."""

import re
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from app.domain.errors import MalformedRequestError, TooLargeError
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


class _Loader(yaml.SafeLoader):
    """Loads what JSON could say too, as YAML 1.2 reads it.

    YAML 1.1 reads the locale `no` as false and 2026-03-01 as a date, and its merge keys grow
    exponentially when they are nested.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - typed by the class above

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge nothing."""


_TAG = "tag:yaml.org,2002:"
_WORDS = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    "float": (r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
}
for _name, (_pattern, _first) in _WORDS.items():
    _firsts = [*_first, ""] if _name == "null" else [*_first]
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _firsts)


def yaml_value(body: bytes) -> object:
    """Return what a YAML document says.

    Raises:
        MalformedRequestError: It is not one valid document.
    """
    try:
        return _Loader(body).get_single_data()
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # A tag can promise what its text does not hold: `!!bool perhaps`, `!!int ''`.
        raise MalformedRequestError("The body is not valid YAML.") from error


Wire = TypeVar("Wire", bound=BaseModel)


def parsed(model: type[Wire], body: bytes) -> Wire:
    """Return the JSON of a body or part as a wire model, or raise InvalidRequestError."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid_request(error.errors()) from error
