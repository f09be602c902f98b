"""Verifying a token of a configured issuer: from a text to claims that can be believed."""

import base64
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final

from joserfc import jws  # noqa: TID251 - this package verifies
from joserfc.errors import JoseError  # noqa: TID251
from joserfc.jws import JWSRegistry  # noqa: TID251

from app.domain.errors import NotFoundError, UnauthenticatedError
from app.domain.identity.oidc import (
    BEARER_TYPES,
    ID_TOKEN_TYPES,
    Issuer,
    claims_fault,
    header_fault,
    origin_fault,
)
from app.domain.identity.oidc_login import Client, id_token_fault
from app.domain.strict_json import NotStrictJsonError, read_object
from app.oidc.discovery import Endpoints, IssuerEndpoints
from app.oidc.keys import IssuerKeys

_LIMIT_CHARACTERS: Final = 8 * 1024
_SEGMENTS: Final = 3


class Issuers:
    """The configured issuers with their keys; nothing is fetched before somebody asks for it."""

    def __init__(self, issuers: Iterable[Issuer] = ()) -> None:
        self._issuers = {each.url: each for each in issuers}
        self._keys = {url: IssuerKeys(each) for url, each in self._issuers.items()}
        people = [(each, each.client) for each in self._issuers.values() if each.client]
        self._by_name = {client.name: (each, client) for each, client in people}
        self._endpoints = {client.name: IssuerEndpoints(each, client) for each, client in people}

    def __bool__(self) -> bool:
        return bool(self._issuers)

    def __contains__(self, url: object) -> bool:
        return url in self._issuers

    def __getitem__(self, url: str) -> Issuer:
        return self._issuers[url]

    @property
    def names_to_sign_in_with(self) -> list[str]:
        """The names of those that people sign in to the pages through."""
        return list(self._by_name)

    @property
    def urls_to_sign_in_with(self) -> frozenset[str]:
        return frozenset(issuer.url for issuer, _ in self._by_name.values())

    def to_sign_in_with(self, name: str) -> tuple[Issuer, Client]:
        """Return an issuer that people sign in through, and what we are to it.

        Raises:
            NotFoundError: There is none of that name.
        """
        if name not in self._by_name:
            raise NotFoundError("There is no such issuer to sign in with.")
        return self._by_name[name]

    def endpoints(self, client: Client, now: datetime) -> Endpoints:
        """Return where a client's issuer lets people sign in.

        Raises:
            UnavailableError: It does not say.
        """
        return self._endpoints[client.name].current(now)

    def verified(self, token: str, now: datetime) -> tuple[Issuer, Mapping[str, object]]:
        """Return who issued a bearer token and its claims, all of which have been verified.

        Raises:
            UnauthenticatedError: It is no token of a configured issuer that holds now.
            UnavailableError: Its issuer's keys cannot be had.
        """
        what = "The bearer token"
        issuer, claims = self._signed(what, token, BEARER_TYPES, now)
        if fault := claims_fault(claims, issuer, now):
            raise _refused(what, fault)
        return issuer, claims

    def verified_id_token(
        self, token: str, issuer: Issuer, client: Client, *, nonce: str, now: datetime
    ) -> Mapping[str, object]:
        """Return what `issuer` says of whoever has just signed in, all of it verified.

        Raises:
            UnauthenticatedError: It is no ID token for this client and this sign-in.
            UnavailableError: The issuer's keys cannot be had.
        """
        what = f"The ID token of {issuer.url}"
        _, claims = self._signed(what, token, ID_TOKEN_TYPES, now)
        fault = origin_fault(claims, issuer, now) or id_token_fault(claims, client, nonce)
        if fault:
            raise _refused(what, fault)
        return claims

    def _signed(
        self, what: str, token: str, types: Collection[str], now: datetime
    ) -> tuple[Issuer, Mapping[str, object]]:
        header, claims = _read(what, token)
        issuer = self._issuers.get(str(claims.get("iss")))
        if issuer is None:
            raise _refused(what, "it is of no issuer that is configured here")
        if fault := header_fault(header, issuer, types):
            raise _refused(what, fault)
        key_id, algorithm = str(header["kid"]), str(header["alg"])
        key = self._keys[issuer.url].key(key_id, algorithm, now)
        if key is None:
            raise _refused(what, "its issuer has no such key")
        registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
        try:
            jws.deserialize_compact(token, key, registry=registry)
        except (JoseError, ValueError) as error:
            raise _refused(what, "its signature is wrong") from error
        return issuer, claims


def _read(what: str, token: str) -> tuple[dict[str, object], dict[str, object]]:
    """Return header and claims as they are written, which nobody has vouched for yet."""
    segments = token.split(".")
    if len(token) > _LIMIT_CHARACTERS or len(segments) != _SEGMENTS or not token.isascii():
        raise _refused(what, "it is neither an API token nor a signed one")
    try:
        header, claims = (read_object(_decoded(segment)) for segment in segments[:2])
    except (NotStrictJsonError, ValueError) as error:
        raise _refused(what, "it cannot be read in exactly one way") from error
    return header, claims


def _decoded(segment: str) -> bytes:
    if "=" in segment:
        raise ValueError("padded, as no segment is")
    padded = segment + "=" * (-len(segment) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True)


def _refused(what: str, fault: str) -> UnauthenticatedError:
    return UnauthenticatedError(f"{what} is refused: {fault}.")
