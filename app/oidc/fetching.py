"""Requests to configured issuers, limited in size and time."""

import time
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode, urlsplit

import urllib3  # noqa: TID251 - the only module that sends requests
from urllib3.exceptions import HTTPError  # noqa: TID251

from app.domain.strict_json import NotStrictJsonError, read_object

_LIMIT_BYTES: Final = 256 * 1024
_CHUNK_BYTES: Final = 16 * 1024
_STEP_S: Final = 2
_TOTAL_S: Final = 3
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_FORM_STATUSES: Final = (HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED)

# No proxy, no retry, no redirect: requests go only to the configured URLs.
_pool = urllib3.PoolManager(
    num_pools=16,
    retries=False,
    timeout=urllib3.Timeout(connect=_STEP_S, read=_STEP_S),
    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
)


class FetchError(Exception):
    """A document could not be fetched; the message gives the reason, for the log."""


def fetch_object(url: str) -> dict[str, object]:
    """Return the JSON object at `url`, which the issuer or the configuration names.

    Raises:
        FetchError: The server does not respond in time, or not with a JSON object.
    """
    status, body = _fetched("GET", url)
    if status != HTTPStatus.OK:
        raise FetchError(f"{url} responds {status}")
    return _object(url, body)


def send_form(
    url: str, form: Mapping[str, str], headers: Mapping[str, str]
) -> tuple[int, dict[str, object]]:
    """Post a form, which may hold secrets; return the status and the JSON object of the response.

    Raises:
        FetchError: The server does not respond in time, or neither accepts nor refuses in JSON.
    """
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    status, body = _fetched("POST", url, urlencode(form).encode(), {**headers, **kind})
    if status not in _FORM_STATUSES:
        raise FetchError(f"{url} responds {status}")
    return status, _object(url, body)


def _object(url: str, body: bytes) -> dict[str, object]:
    try:
        return read_object(body)
    except NotStrictJsonError as error:
        raise FetchError(f"{url} returns no JSON object: {error}") from error


def _fetched(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] = _NO_HEADERS
) -> tuple[int, bytes]:
    try:
        return _bounded_response(method, url, body, headers)
    except (HTTPError, OSError) as error:
        raise FetchError(f"{url} does not respond: {type(error).__name__}") from error


def _bounded_response(
    method: str, url: str, content: bytes | None, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    deadline = time.monotonic() + _TOTAL_S
    response = _pool.request(
        method,
        url,
        body=content,
        headers={**_pool.headers, **headers},
        redirect=False,
        preload_content=False,
    )
    try:
        body = bytearray()
        while chunk := response.read1(_CHUNK_BYTES, decode_content=False):
            body += chunk
            if len(body) > _LIMIT_BYTES:
                raise FetchError(f"{url} returns more than {_LIMIT_BYTES} bytes")
            if time.monotonic() > deadline:
                raise FetchError(f"{url} takes longer than {_TOTAL_S} seconds")
        return response.status, bytes(body)
    finally:
        response.close()


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port, which are equal for all URLs of one server."""
    parts = urlsplit(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default
