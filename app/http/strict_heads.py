"""Strictness about request heads: ambiguous and unprintable ones are refused before any route."""

import re
from typing import Final

from starlette.types import Scope

from app.domain.errors import HeadersTooLargeError, MalformedRequestError, NotFoundError

_MOST_HEADERS: Final = 100
_MOST_HEADER_BYTES: Final = 32 * 1024

# Proxies and servers that choose differently among several would disagree on the request.
_AT_MOST_ONCE: Final = {
    b"authorization": "Authorization",
    b"content-type": "Content-Type",
    b"range": "Range",
}
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_PAGES: Final = "/admin/"  # answer with a page
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def require_strict_head(scope: Scope) -> None:
    """Refuse a request whose head is too large, ambiguous or unprintable.

    Raises:
        HeadersTooLargeError: There are too many headers, or too large ones.
        NotFoundError: The path has control characters, which no stored name has.
        MalformedRequestError: There is not exactly one valid Host, or another header that may
            occur once is repeated.
    """
    if _CONTROL.search(scope["path"]) and not scope["path"].startswith(_PAGES):
        raise NotFoundError("The path contains control characters; nothing has such a name.")
    size_bytes, hosts, seen = 0, [], set()
    for name, value in scope["headers"]:
        size_bytes += len(name) + len(value)
        if name == b"host":
            hosts.append(value)
        elif name in _AT_MOST_ONCE:
            if name in seen:
                raise MalformedRequestError(f"Send one {_AT_MOST_ONCE[name]} header, not several.")
            seen.add(name)
    if len(scope["headers"]) > _MOST_HEADERS or size_bytes > _MOST_HEADER_BYTES:
        message = f"Send at most {_MOST_HEADERS} headers, of {_MOST_HEADER_BYTES} bytes."
        raise HeadersTooLargeError(message)
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        raise MalformedRequestError("Send exactly one Host header, with a name and a port.")
