"""Verifying tokens of configured issuers: from a string to trusted claims."""

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
    """The configured issuers with their keys and endpoints, which are fetched on first use."""

    def __init__(self, issuers: Iterable[Issuer] = ()) -> None:
        self._issuers = {issuer.url: issuer for issuer in issuers}
        self._keys = {url: IssuerKeys(issuer) for url, issuer in self._issuers.items()}
        for_login = [(issuer, issuer.client) for issuer in self._issuers.values() if issuer.client]
        self._by_name = {client.name: (issuer, client) for issuer, client in for_login}
        self._endpoints = {
            client.name: IssuerEndpoints(issuer, client) for issuer, client in for_login
        }

    def __bool__(self) -> bool:
        return bool(self._issuers)

    def __contains__(self, url: object) -> bool:
        return url in self._issuers

    def __getitem__(self, url: str) -> Issuer:
        return self._issuers[url]

    @property
    def login_names(self) -> list[str]:
        """The names of the issuers through which people can sign in to the pages."""
        return list(self._by_name)

    @property
    def login_urls(self) -> frozenset[str]:
        return frozenset(issuer.url for issuer, _ in self._by_name.values())

    def for_login(self, name: str) -> tuple[Issuer, Client]:
        """Return the issuer for logins with this name, and the registry's client at it.

        Raises:
            NotFoundError: There is no such issuer.
        """
        if name not in self._by_name:
            raise NotFoundError("There is no such issuer to sign in with.")
        return self._by_name[name]

    def endpoints(self, client: Client, now: datetime) -> Endpoints:
        """Return the login endpoints of a client's issuer.

        Raises:
            UnavailableError: The issuer does not provide them.
        """
        return self._endpoints[client.name].current(now)

    def verified(self, token: str, now: datetime) -> tuple[Issuer, Mapping[str, object]]:
        """Return the issuer and the claims of a bearer token, after verifying all of them.

        Raises:
            UnauthenticatedError: The token is not a valid token of a configured issuer.
            UnavailableError: The issuer's keys are not available.
        """
        name = "The bearer token"
        issuer, claims = self._with_valid_signature(name, token, BEARER_TYPES, now)
        if fault := claims_fault(claims, issuer, now):
            raise _refused(name, fault)
        return issuer, claims

    def verified_id_token(
        self, token: str, issuer: Issuer, client: Client, *, nonce: str, now: datetime
    ) -> Mapping[str, object]:
        """Return the claims of the ID token of a login, after verifying all of them.

        Raises:
            UnauthenticatedError: It is not a valid ID token for this client and this login.
            UnavailableError: The issuer's keys are not available.
        """
        name = f"The ID token of {issuer.url}"
        _, claims = self._with_valid_signature(name, token, ID_TOKEN_TYPES, now)
        fault = origin_fault(claims, issuer, now) or id_token_fault(claims, client, nonce)
        if fault:
            raise _refused(name, fault)
        return claims

    def _with_valid_signature(
        self, name: str, token: str, types: Collection[str], now: datetime
    ) -> tuple[Issuer, Mapping[str, object]]:
        header, claims = _read(name, token)
        issuer = self._issuers.get(str(claims.get("iss")))
        if issuer is None:
            raise _refused(name, "its issuer is not configured here")
        if fault := header_fault(header, issuer, types):
            raise _refused(name, fault)
        key_id, algorithm = str(header["kid"]), str(header["alg"])
        key = self._keys[issuer.url].key(key_id, algorithm, now)
        if key is None:
            raise _refused(name, "its issuer has no such key")
        registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
        try:
            jws.deserialize_compact(token, key, registry=registry)
        except (JoseError, ValueError) as error:
            raise _refused(name, "its signature is wrong") from error
        return issuer, claims


def _read(name: str, token: str) -> tuple[dict[str, object], dict[str, object]]:
    """Return header and claims, which are not verified yet."""
    segments = token.split(".")
    if len(token) > _LIMIT_CHARACTERS or len(segments) != _SEGMENTS or not token.isascii():
        raise _refused(name, "it is neither an API token nor a signed token")
    try:
        header, claims = (read_object(_decoded(segment)) for segment in segments[:2])
    except (NotStrictJsonError, ValueError) as error:
        raise _refused(name, "it is malformed or ambiguous") from error
    return header, claims


def _decoded(segment: str) -> bytes:
    if "=" in segment:
        raise ValueError("segments of a token are never padded")
    padded = segment + "=" * (-len(segment) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True)


def _refused(name: str, fault: str) -> UnauthenticatedError:
    return UnauthenticatedError(f"{name} is refused: {fault}.")
