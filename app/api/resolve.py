"""Resolving a channel over HTTP, the request that a serving fleet repeats."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from pydantic import AfterValidator, WithJsonSchema

from app.api.fields import ChannelName, Digest
from app.api.resolve_cached import (
    LONGEST_WAIT_S,
    CachedRoute,
    ResolutionOut,
    resolution_headers,
    resolution_out,
    wait_seconds,
)
from app.domain.artifacts.pulls import PullWay
from app.domain.delivery.conditional_requests import is_named
from app.domain.durations import ISO_PATTERN, SHORT_PATTERN
from app.domain.errors import (
    BaseModelMismatchError,
    ChannelEmptyError,
    NotFoundError,
    VersionRevokedError,
)
from app.http.deps import Caller, Now, PartsDep, PrefixPath
from app.http.limits import urgent
from app.http.problems import refuses
from app.services.delivery.resolve import resolve


def _wait_checked(text: str) -> str:
    if wait_seconds(text) is None:
        raise ValueError(
            f"must be a number of seconds from 0 to {LONGEST_WAIT_S}, or a duration of at most "
            f"{LONGEST_WAIT_S} seconds, such as 30, 30s or PT30S"
        )
    return text


Wait = Annotated[
    str,
    AfterValidator(_wait_checked),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT_S},
                {"type": "string", "format": "duration", "pattern": ISO_PATTERN},
                {"type": "string", "pattern": SHORT_PATTERN},
            ]
        }
    ),
]

router = APIRouter(prefix="/resolve", tags=["resolve"], route_class=CachedRoute)


@router.get(
    "/{namespace}/{name}",
    response_model=ResolutionOut,
    responses={
        304: {"description": "Neither the generation nor the served version has changed."},
        **refuses(NotFoundError, ChannelEmptyError, VersionRevokedError, BaseModelMismatchError),
    },
)
@urgent
def resolve_channel(
    prefix: PrefixPath,
    response: Response,
    parts: PartsDep,
    caller: Caller,
    now: Now,
    channel: Annotated[ChannelName, Query()] = "production",
    unit: Annotated[
        str | None,
        Query(
            max_length=256,
            description="The user or request to serve; selects one version of a split allocation.",
        ),
    ] = None,
    base_model: Annotated[Digest | None, Query(description="The base model you run.")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
    _wait: Annotated[
        Wait,
        Query(
            alias="wait",
            description="With If-None-Match: how long to wait for a change before sending 304. "
            "A bare number is in seconds, as in the `wait` preference of RFC 7240.",
        ),
    ] = "0",
) -> ResolutionOut | Response:
    """Return the version that the channel serves, with short-lived URLs that need no token."""
    served, version = resolve(
        parts.sessions,
        prefix=prefix,
        channel_name=channel,
        unit=unit,
        base_model=base_model,
        caller=caller,
    )
    headers = resolution_headers(served, version)
    if is_named(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    parts.pulls.note(version.id, caller, PullWay.RESOLVE, now)
    response.headers.update(headers)
    return resolution_out(parts, served, version, now)
