"""Idempotent requests: their keys and fingerprints, and which responses are stored."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from app.domain.errors import MalformedRequestError
from app.domain.naming import Json, canonical_digest

STORED_FOR: Final = timedelta(hours=24)

_SERVER_ERRORS: Final = 500
_REFUSALS: Final = 400
# A string of RFC 9651, as the header's draft demands, or the bare characters of most clients.
_QUOTED: Final = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE: Final = re.compile(r"[\x21-\x7e]*")
_LONGEST: Final = 255


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The response to a request; `body` is None if it must not be stored."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None

    def is_stored(self, *, changed: bool) -> bool:
        """Return whether a retry gets this response instead of being executed again.

        The caller may remedy a refusal that changed nothing, so its retry is a new request. A
        server error is never stored.
        """
        return self.status < _REFUSALS or (changed and self.status < _SERVER_ERRORS)


def key_of(header: str) -> str:
    """Return the key in an `Idempotency-Key` header.

    Raises:
        MalformedRequestError: The header is not a string of 1 to 255 printable ASCII characters.
    """
    quoted = _QUOTED.fullmatch(header.strip())
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else header.strip()
    if not 1 <= len(key) <= _LONGEST or not (quoted or _BARE.fullmatch(key)):
        raise MalformedRequestError(
            f"Idempotency-Key must be one string of 1 to {_LONGEST} printable ASCII characters, "
            "such as a UUID."
        )
    return key


def fingerprint(method: str, path: str, query: str, body: Json) -> str:
    """Return a digest of a request; requests with equal digests are treated as identical."""
    return canonical_digest([method, path, query, body])
