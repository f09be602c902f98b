"""Resolving from the cache, and long polling, without a thread or a query.

Cache misses, unusual requests and refusals are left to the endpoint.
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
from app.domain.durations import DurationError, duration_in
from app.domain.errors import NotFoundError
from app.domain.identity.access import Caller
from app.domain.naming import PrefixName
from app.http.deps import Parts
from app.http.limits import urgent
from app.services.delivery.cache import CachedChannel

LONGEST_WAIT_S: Final = 60
LONGEST_UNIT: Final = 256

# While the cache is not current, waiters query the database at this interval.
_UNCACHED_INTERVAL_S: Final = 2.0
_SCHEME: Final = "Bearer "
_PARAMETERS: Final = frozenset({"channel", "unit", "base_model", "wait"})


class CachedRoute(APIRoute):
    """Responds from the cache if possible, otherwise by its endpoint, and waits before a 304."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = super().get_route_handler()

        async def handle(request: Request) -> Response:
            lookup = _lookup_of(request)
            if lookup is None:
                return await endpoint(request)
            parts: Parts = request.app.state.parts
            response = await _from_cache(parts, lookup) or await endpoint(request)
            deadline = time.monotonic() + lookup.wait_s
            while (
                response.status_code == HTTPStatus.NOT_MODIFIED
                and (left_s := deadline - time.monotonic()) > 0
                and not parts.cache.is_closed
            ):
                # Metrics are labelled by endpoint: time spent waiting must not count as slowness.
                request.scope["endpoint"] = wait_for_change
                await wait_for_change(parts, lookup, response.headers["ETag"], left_s)
                response = await _from_cache(parts, lookup) or await endpoint(request)
            return response

        return handle


@dataclass(frozen=True, slots=True)
class _Lookup:
    """A request that the cache may be able to serve."""

    token: str
    key: ChannelKey
    unit: str | None
    base_model: str | None
    etags: str | None
    wait_s: float


@dataclass(frozen=True, slots=True)
class _Rendered:
    """The two possible responses for one version, with headers, until the URLs are too old."""

    full: Response
    not_modified: Response
    etag: str
    fresh_until: datetime


def _lookup_of(request: Request) -> _Lookup | None:
    """Read a request of the usual form; None leaves any other form to the endpoint."""
    authorization = request.headers.get("authorization", "")
    query = request.query_params
    wait_s = wait_seconds(query.get("wait", "0"))
    if wait_s is None or not authorization.startswith(_SCHEME):
        return None
    if len(query.multi_items()) > len(query) or not _PARAMETERS.issuperset(query):
        return None
    etags = request.headers.get("if-none-match")
    lookup = _Lookup(
        token=authorization[len(_SCHEME) :],
        key=(
            request.path_params["namespace"],
            request.path_params["name"],
            query.get("channel", "production"),
        ),
        unit=query.get("unit"),
        base_model=query.get("base_model"),
        etags=etags,
        wait_s=wait_s if etags is not None else 0,
    )
    if len(lookup.unit or "") > LONGEST_UNIT:
        return None
    return lookup


def wait_seconds(text: str) -> float | None:
    """Return how long `?wait=` asks to wait at most; None if it is no duration, or too long.

    A bare number is in seconds, as in the `wait` preference of RFC 7240.
    """
    try:
        wait_s = duration_in(f"{text}s" if text.isdecimal() else text).total_seconds()
    except DurationError:
        return None
    return wait_s if wait_s <= LONGEST_WAIT_S else None


async def _from_cache(parts: Parts, lookup: _Lookup) -> Response | None:
    """Return the response from the cache, filling the cache first if needed."""
    channel_cache = parts.cache.channel_cache
    if not (channel_cache.is_current() and parts.clock.is_measured):
        return None
    hashed = await parts.cache.prepare_token(parts.sessions, lookup.token)
    token = channel_cache.token(hashed)
    if token is None or not _can_see(token.caller, lookup.key):
        return None
    if channel_cache.channel(lookup.key) is None:
        await parts.cache.prepare_channel(parts.sessions, lookup.key)
    return _response_from_cache(parts, lookup, hashed)


def _response_from_cache(parts: Parts, lookup: _Lookup, hashed: str) -> Response | None:
    """Return the response from the cache as it is now. Never awaits, so no entry can change."""
    channel_cache, now = parts.cache.channel_cache, parts.clock.now()
    cached = channel_cache.channel(lookup.key)
    if cached is None:
        return None
    version = cached.channel.version_for(lookup.unit)
    if version is None or lookup.base_model not in (None, version.base_model):
        return None
    rendered = _rendered(parts, cached, version, now)
    # The token comes last: this lookup also checks that the cache as a whole is still current.
    token = parts.cache.token(hashed, now, parts.uses)
    if token is None:
        return None
    if is_named(rendered.etag, lookup.etags):
        return rendered.not_modified
    parts.pulls.note(version.id, token.caller, PullWay.RESOLVE, now)
    return rendered.full


def _can_see(caller: Caller, key: ChannelKey) -> bool:
    namespace, name, channel = key
    try:
        caller.require_visible(PrefixName(namespace, name), unreleased=False)
    except NotFoundError:
        return False
    return caller.can_see_channel(channel)


def _rendered(
    parts: Parts, cached: CachedChannel, version: ServedVersion, now: datetime
) -> _Rendered:
    """Return the responses for a version; URLs are renewed after a third of their lifetime."""
    known: _Rendered | None = cached.rendered.get(version.number)
    if known is not None and now < known.fresh_until:
        return known
    body = resolution_out(parts, cached.channel, version, now).model_dump_json()
    headers = resolution_headers(cached.channel, version)
    rendered = _Rendered(
        full=Response(body, headers=headers, media_type="application/json"),
        not_modified=Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers),
        etag=headers["ETag"],
        fresh_until=now + timedelta(seconds=parts.limits.presigned_lifetime_s) / 3,
    )
    cached.rendered[version.number] = rendered
    return rendered


@urgent
async def wait_for_change(parts: Parts, lookup: _Lookup, etag: str, timeout_s: float) -> None:
    """Return once the channel may differ from `etag`, or after `timeout_s` seconds."""
    generation = int(etag.strip('"').partition("-")[0])
    if parts.cache.channel_cache.is_current():
        await parts.cache.prepare_channel(parts.sessions, lookup.key)
    if not await parts.cache.change(lookup.key, generation, timeout_s):
        await asyncio.sleep(min(timeout_s, _UNCACHED_INTERVAL_S))


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
    """Return the response that serves `version`, with URLs signed now."""
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
