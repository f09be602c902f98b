"""Verifying a token of a configured issuer: from a text to claims that can be believed."""

import base64
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from joserfc import jws  # noqa: TID251 - this package verifies
from joserfc.errors import JoseError  # noqa: TID251
from joserfc.jws import JWSRegistry  # noqa: TID251

from app.domain.errors import UnauthenticatedError
from app.domain.oidc import Issuer, claims_fault, header_fault
from app.domain.strictjson import NotStrictJsonError, read_object
from app.oidc.keys import IssuerKeys

_LIMIT_CHARACTERS: Final = 8 * 1024
_SEGMENTS: Final = 3


class Issuers:
    """The configured issuers with their keys; nothing is fetched before a token asks for it."""

    def __init__(self, issuers: Iterable[Issuer] = ()) -> None:
        self._issuers = {each.url: each for each in issuers}
        self._keys = {url: IssuerKeys(each) for url, each in self._issuers.items()}

    def __bool__(self) -> bool:
        return bool(self._issuers)

    def __contains__(self, url: object) -> bool:
        return url in self._issuers

    def __getitem__(self, url: str) -> Issuer:
        return self._issuers[url]

    def verified(self, token: str, now: datetime) -> tuple[Issuer, Mapping[str, object]]:
        """Return who issued a token and its claims, all of which have been verified.

        Raises:
            UnauthenticatedError: It is no token of a configured issuer that holds now.
            UnavailableError: Its issuer's keys cannot be had.
        """
        header, claims = _read(token)
        issuer = self._issuers.get(str(claims.get("iss")))
        if issuer is None:
            raise _refused("it is of no issuer that is configured here")
        if fault := header_fault(header, issuer):
            raise _refused(fault)
        key_id, algorithm = str(header["kid"]), str(header["alg"])
        key = self._keys[issuer.url].key(key_id, algorithm, now)
        if key is None:
            raise _refused("its issuer has no such key")
        registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
        try:
            jws.deserialize_compact(token, key, registry=registry)
        except (JoseError, ValueError) as error:
            raise _refused("its signature is wrong") from error
        if fault := claims_fault(claims, issuer, now):
            raise _refused(fault)
        return issuer, claims


def _read(token: str) -> tuple[dict[str, object], dict[str, object]]:
    """Return header and claims as they are written, which nobody has vouched for yet."""
    segments = token.split(".")
    if len(token) > _LIMIT_CHARACTERS or len(segments) != _SEGMENTS or not token.isascii():
        raise _refused("it is neither an API token nor a signed one")
    try:
        header, claims = (read_object(_decoded(segment)) for segment in segments[:2])
    except (NotStrictJsonError, ValueError) as error:
        raise _refused("it cannot be read in exactly one way") from error
    return header, claims


def _decoded(segment: str) -> bytes:
    if "=" in segment:
        raise ValueError("padded, as no segment is")
    padded = segment + "=" * (-len(segment) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True)


def _refused(fault: str) -> UnauthenticatedError:
    return UnauthenticatedError(f"The bearer token is refused: {fault}.")
