"""One document from a configured issuer, within bounds of size and time."""

import time
from typing import Final
from urllib.parse import urlsplit

import urllib3  # noqa: TID251 - this is the module
from urllib3.exceptions import HTTPError  # noqa: TID251

from app.domain.strictjson import NotStrictJsonError, read_object

_LIMIT_BYTES: Final = 256 * 1024
_CHUNK_BYTES: Final = 16 * 1024
_STEP_S: Final = 2
_WHOLE_S: Final = 3
_OK: Final = 200

# No proxy, no retry, no redirect: what is asked is what the configuration names.
_pool = urllib3.PoolManager(
    num_pools=16,
    retries=False,
    timeout=urllib3.Timeout(connect=_STEP_S, read=_STEP_S),
    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
)


class FetchError(Exception):
    """A document could not be had; the message says why, for the log."""


def fetch_object(url: str) -> dict[str, object]:
    """Return the JSON object at `url`, which comes from the configuration.

    Raises:
        FetchError: It does not answer in time, or with something else.
    """
    try:
        return read_object(_fetch(url))
    except (HTTPError, OSError) as error:
        raise FetchError(f"{url} does not answer: {type(error).__name__}") from error
    except NotStrictJsonError as error:
        raise FetchError(f"{url} answers no JSON object: {error}") from error


def _fetch(url: str) -> bytes:
    deadline = time.monotonic() + _WHOLE_S
    response = _pool.request("GET", url, redirect=False, preload_content=False)
    try:
        if response.status != _OK:
            raise FetchError(f"{url} answers {response.status}")
        body = bytearray()
        while chunk := response.read1(_CHUNK_BYTES, decode_content=False):
            body += chunk
            if len(body) > _LIMIT_BYTES:
                raise FetchError(f"{url} answers more than {_LIMIT_BYTES} bytes")
            if time.monotonic() > deadline:
                raise FetchError(f"{url} takes longer than {_WHOLE_S} seconds")
        return bytes(body)
    finally:
        response.close()


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return what two URLs of one server have in common."""
    parts = urlsplit(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default
