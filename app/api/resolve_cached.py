"""Resolving from memory, and waiting for a change: what needs neither a thread nor a query.

Whatever memory cannot answer, and whatever is refused, goes on to the endpoint itself.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.api.fields import Out
from app.domain.artifacts.pulls import PullWay
from app.domain.delivery.conditional_requests import is_named
from app.domain.delivery.served_channel import ChannelKey, ServedChannel, ServedVersion
from app.domain.errors import NotFoundError
from app.domain.identity.access import Caller
from app.domain.naming import PrefixName
from app.http.deps import Parts, clock
from app.services.delivery.cache import CachedChannel

LONGEST_WAIT_S: Final = 60
LONGEST_UNIT: Final = 256

# While memory knows nothing, whoever waits asks the database so often.
_BLIND_WAIT_S: Final = 2.0
_SCHEME: Final = "Bearer "
_PARAMETERS: Final = frozenset({"channel", "unit", "base_model", "wait"})


class CachedRoute(APIRoute):
    """Answers from memory if it can, else by its endpoint; and waits before it says 304."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = super().get_route_handler()

        async def answer(request: Request) -> Response:
            asked = _asked(request)
            if asked is None:
                return await endpoint(request)
            parts: Parts = request.app.state.parts
            response = await _from_cache(parts, asked) or await endpoint(request)
            until = time.monotonic() + asked.wait_s
            while (
                response.status_code == HTTPStatus.NOT_MODIFIED
                and (left := until - time.monotonic()) > 0
                and not parts.cache.is_closed
            ):
                # So that waiting does not look like slowness where durations are measured.
                request.scope["endpoint"] = wait_for_change
                await wait_for_change(parts, asked, response.headers["ETag"], left)
                response = await _from_cache(parts, asked) or await endpoint(request)
            return response

        return answer


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that memory may be able to answer."""

    token: str
    key: ChannelKey
    unit: str | None
    base_model: str | None
    etags: str | None
    wait_s: int


@dataclass(frozen=True, slots=True)
class _Made:
    """The two answers for one version, complete with headers, as long as the URLs are fresh."""

    whole: Response
    unchanged: Response
    etag: str
    until: datetime


def _asked(request: Request) -> _Asked | None:
    """Read a request of the usual form; None leaves it to the endpoint, which knows them all."""
    authorization = request.headers.get("authorization", "")
    query = request.query_params
    wait = query.get("wait", "0")
    if not (authorization.startswith(_SCHEME) and wait.isascii() and wait.isdecimal()):
        return None
    if len(query.multi_items()) > len(query) or not _PARAMETERS.issuperset(query):
        return None
    etags = request.headers.get("if-none-match")
    asked = _Asked(
        token=authorization[len(_SCHEME) :],
        key=(
            request.path_params["namespace"],
            request.path_params["name"],
            query.get("channel", "production"),
        ),
        unit=query.get("unit"),
        base_model=query.get("base_model"),
        etags=etags,
        wait_s=int(wait[:3]) if etags is not None else 0,
    )
    if asked.wait_s > LONGEST_WAIT_S or len(asked.unit or "") > LONGEST_UNIT:
        return None
    return asked


async def _from_cache(parts: Parts, asked: _Asked) -> Response | None:
    """Answer from memory, which may be filled for that first."""
    channel_cache = parts.cache.channel_cache
    if not channel_cache.is_current():
        return None
    hashed = await parts.cache.prepare_token(parts.sessions, asked.token, clock())
    token = channel_cache.token(hashed)
    if token is None or not _sees(token.caller, asked.key):
        return None
    if channel_cache.channel(asked.key) is None:
        await parts.cache.prepare_channel(parts.sessions, asked.key)
    return _answer(parts, asked, hashed)


def _answer(parts: Parts, asked: _Asked, hashed: str) -> Response | None:
    """Answer from what memory holds at this moment; nothing here gives way to anything else."""
    channel_cache, now = parts.cache.channel_cache, clock()
    kept = channel_cache.channel(asked.key)
    if kept is None:
        return None
    version = kept.channel.version_for(asked.unit)
    if version is None or asked.base_model not in (None, version.base_model):
        return None
    made = _made(parts, kept, version, now)
    # Asked last: it says whether memory as a whole may be answered from.
    token = parts.cache.token(hashed, now, parts.uses)
    if token is None:
        return None
    if is_named(made.etag, asked.etags):
        return made.unchanged
    parts.pulls.note(version.id, token.caller, PullWay.RESOLVE, now)
    return made.whole


def _sees(caller: Caller, key: ChannelKey) -> bool:
    namespace, name, channel = key
    try:
        caller.require_visible(PrefixName(namespace, name), unreleased=False)
    except NotFoundError:
        return False
    return caller.sees_channel(channel)


def _made(parts: Parts, kept: CachedChannel, version: ServedVersion, now: datetime) -> _Made:
    """Return the answers for a version; URLs are signed again after a third of their life."""
    known: _Made | None = kept.made.get(version.number)
    if known is not None and now < known.until:
        return known
    body = resolution_out(parts, kept.channel, version, now).model_dump_json()
    headers = resolution_headers(kept.channel, version)
    made = _Made(
        whole=Response(body, headers=headers, media_type="application/json"),
        unchanged=Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers),
        etag=headers["ETag"],
        until=now + timedelta(seconds=parts.limits.presigned_lifetime_s) / 3,
    )
    kept.made[version.number] = made
    return made


async def wait_for_change(parts: Parts, asked: _Asked, etag: str, timeout_s: float) -> None:
    """Return when the channel may have moved on from what `etag` says, at the latest in time."""
    generation = int(etag.strip('"').partition("-")[0])
    if parts.cache.channel_cache.is_current():
        await parts.cache.prepare_channel(parts.sessions, asked.key)
    if not await parts.cache.change(asked.key, generation, timeout_s):
        await asyncio.sleep(min(timeout_s, _BLIND_WAIT_S))


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


def resolution_out(
    parts: Parts, channel: ServedChannel, version: ServedVersion, now: datetime
) -> ResolutionOut:
    """Return the answer that `version` serves, with URLs signed now."""
    lifetime_s = parts.limits.presigned_lifetime_s
    return ResolutionOut(
        prefix=str(channel.prefix),
        channel=channel.name,
        generation=channel.generation,
        version=version.number,
        weight=version.weight,
        digest=version.digest,
        revision=version.revision,
        base_model=version.base_model,
        files=[
            ResolvedFileOut(
                name=file.name,
                sha256=file.sha256,
                size_bytes=file.size_bytes,
                url=parts.blobs.presigned_url(
                    file.sha256, file_name=file.name, lifetime_s=lifetime_s
                ),
            )
            for file in version.files
        ],
        expires_at=now + timedelta(seconds=lifetime_s),
    )


def resolution_headers(channel: ServedChannel, version: ServedVersion) -> dict[str, str]:
    return {
        "ETag": f'"{channel.generation}-{version.revision}"',
        "Cache-Control": "private, no-cache",
    }
