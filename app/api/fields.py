"""Fields of request and response models: names, digests, texts, times and hashable JSON."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Generic, TypeVar

import rfc8785
from fastapi import Depends, Path, Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from app.db.paging import PageRequest
from app.domain.durations import ISO_PATTERN, SHORT_PATTERN, duration_in
from app.domain.naming import (
    DIGEST_PATTERN,
    LABEL_PATTERN,
    RESERVED_NAMESPACES,
    is_name,
    is_namespace,
    is_reserved_channel,
)
from app.domain.strict_json import DEPTH_LIMIT, quoted
from app.http import text_fields
from app.http.text_fields import printable

T = TypeVar("T")

_JSON_LIMIT_BYTES: Final = 64 * 1024
LARGEST_NUMBER: Final = 2**31 - 1

_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)


class In(BaseModel):
    """The base of request models; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Out(BaseModel):
    """The base of response models."""

    model_config = ConfigDict(from_attributes=True)


class PageOut(Out, Generic[T]):
    """One page of a list. `next` is the cursor of the following page, or null on the last."""

    items: list[T]
    next: str | None


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError("use letters, digits, and single - . _ between them, at most 95")
    return text


def _namespace(text: str) -> str:
    if text in RESERVED_NAMESPACES:
        raise ValueError(f"{text} is reserved for the server itself")
    if not is_namespace(_name(text)):
        raise ValueError(f"namespaces are in lower case; use {text.lower()}")
    return text


def _channel(value: object) -> object:
    if isinstance(value, str) and is_reserved_channel(value):
        raise PydanticCustomError(
            "reserved-channel-name",
            "{name} cannot be a channel: Hugging Face clients, git or other registries give it "
            "another meaning, such as a version; choose a name such as production or staging",
            {"name": quoted(value)},
        )
    return value


def _rfc3339(value: object) -> object:
    """Refuse numbers, which pydantic would take for Unix times in seconds or milliseconds."""
    if not isinstance(value, datetime) and not (isinstance(value, str) and _TIME.fullmatch(value)):
        raise ValueError("must be an RFC 3339 time, such as 2026-01-31T12:00:00Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be in the years 1 to 9999 in UTC") from error


def _duration(value: object) -> timedelta:
    """Read a duration; pydantic would take a bare number for seconds."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return duration_in(f"{value}")
    if not isinstance(value, str):
        raise ValueError("must be a duration in a string, such as 7d, 12h, P7D or PT30S")  # noqa: TRY004 - pydantic expects it
    return duration_in(value)


def _is_nested_beyond(levels: int, value: object) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_nested_beyond(levels - 1, child) for child in children)


def _hashable(document: dict[str, Any]) -> dict[str, Any]:
    if _is_nested_beyond(DEPTH_LIMIT, document):
        # Deeper JSON could be stored but not returned: pydantic cannot serialise it.
        raise ValueError(f"must be nested at most {DEPTH_LIMIT} levels deep")
    try:
        canonical = rfc8785.dumps(document)
    except rfc8785.CanonicalizationError as error:
        raise ValueError("must be JSON with finite numbers and integers below 2**53") from error
    if len(canonical) > _JSON_LIMIT_BYTES:
        raise ValueError(f"must be at most {_JSON_LIMIT_BYTES} bytes of JSON")
    if b"\\u0000" in canonical:
        raise ValueError("NUL characters are not allowed")
    return document


Name = Annotated[str, AfterValidator(_name), Field(examples=["brand-voice"])]
Namespace = Annotated[str, AfterValidator(_namespace), Field(examples=["acme"])]
Label = Annotated[str, Field(pattern=LABEL_PATTERN, examples=["production"])]
ChannelName = Annotated[Label, BeforeValidator(_channel)]
Digest = Annotated[str, Field(pattern=DIGEST_PATTERN, examples=[f"sha256:{'0' * 64}"])]
Line = text_fields.Line
Text = text_fields.Text
Reason = text_fields.Reason
JsonObject = Annotated[dict[str, Any], AfterValidator(_hashable)]
Time = Annotated[AwareDatetime, BeforeValidator(_rfc3339), AfterValidator(_in_utc)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "duration", "pattern": ISO_PATTERN},
                {"type": "string", "pattern": SHORT_PATTERN},
            ],
            "examples": ["P7D", "12h"],
        },
        mode="validation",
    ),
]
Searched = Annotated[str, Query(max_length=96), AfterValidator(printable)]
LookupName = Annotated[str, Path(max_length=64), AfterValidator(printable)]
Number = Annotated[int, Path(ge=1, le=LARGEST_NUMBER)]


async def _page(
    cursor: Annotated[
        str | None, Query(max_length=1024, description="`next` of the previous page.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Items per page.")] = 50,
) -> PageRequest:
    return PageRequest(limit, cursor)


PageQuery = Annotated[PageRequest, Depends(_page)]
