"""Resolving a channel over HTTP: what a serving fleet asks."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from app.api.fields import Digest, Label, Out
from app.deps import Caller, Now, PartsDep, PrefixPath
from app.domain.errors import (
    BaseModelMismatchError,
    ChannelEmptyError,
    NotFoundError,
    VersionRevokedError,
)
from app.domain.preconditions import is_named
from app.domain.pulls import PullWay
from app.problems import refuses
from app.services.resolution import Resolution, resolve
from app.storage.blobs import Blobs

router = APIRouter(prefix="/resolve", tags=["resolve"])


class ResolvedFileOut(Out):
    name: str
    sha256: str
    size_bytes: int
    url: str


class ResolutionOut(Out):
    prefix: str
    channel: str
    generation: int
    version: int
    weight: int
    digest: str
    revision: str
    base_model: str
    files: list[ResolvedFileOut]
    expires_at: datetime


@router.get(
    "/{namespace}/{name}",
    response_model=ResolutionOut,
    responses={
        304: {"description": "The same generation serves the same version."},
        **refuses(NotFoundError, ChannelEmptyError, VersionRevokedError, BaseModelMismatchError),
    },
)
def resolve_channel(
    prefix: PrefixPath,
    response: Response,
    parts: PartsDep,
    caller: Caller,
    now: Now,
    channel: Annotated[Label, Query()] = "production",
    unit: Annotated[str | None, Query(max_length=256, description="Whom it serves.")] = None,
    base_model: Annotated[Digest | None, Query(description="The base you run.")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> ResolutionOut | Response:
    """Return the version that the channel serves, with URLs that need no token for a while."""
    found = resolve(
        parts.sessions,
        prefix=prefix,
        channel_name=channel,
        unit=unit,
        base_model=base_model,
        caller=caller,
    )
    etag = f'"{found.channel.generation}-{found.version.revision}"'
    if is_named(etag, if_none_match):
        return Response(status_code=304, headers={"ETag": etag})
    parts.pulls.note(found.version.id, caller, PullWay.RESOLVE, now)
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = "private, no-cache"
    return _out(found, parts.blobs, parts.limits.presigned_lifetime_s, now)


def _out(found: Resolution, blobs: Blobs, lifetime_s: int, now: datetime) -> ResolutionOut:
    version = found.version
    return ResolutionOut(
        prefix=str(found.prefix),
        channel=found.channel.name,
        generation=found.channel.generation,
        version=version.number,
        weight=found.weight,
        digest=version.digest,
        revision=version.revision,
        base_model=version.base_model.digest,
        files=[
            ResolvedFileOut(
                name=file.name,
                sha256=file.sha256,
                size_bytes=file.size_bytes,
                url=blobs.presigned_url(file.sha256, file_name=file.name, lifetime_s=lifetime_s),
            )
            for file in version.files
        ],
        expires_at=now + timedelta(seconds=lifetime_s),
    )
