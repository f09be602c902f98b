"""An issuer's discovery document: where its keys are, where people sign in, and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from app.domain.errors import UnavailableError
from app.domain.identity.oidc import Issuer
from app.domain.identity.oidc_login import Client
from app.oidc.fetching import FetchError, fetch_object, origin
from app.oidc.published_cache import FRESH, USABLE, PublishedCache

_WAIT_S: Final = 1


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where people sign in, where codes are redeemed, and what the issuer expects there."""

    authorization_url: str
    token_url: str
    names_itself: bool = False
    takes_basic: bool = True


class IssuerEndpoints:
    """The endpoints of one issuer, shared by all requests of the process."""

    def __init__(self, issuer: Issuer, client: Client) -> None:
        self._issuer = issuer
        what = f"the endpoints of {issuer.url}"
        self._kept = PublishedCache(what, lambda: _endpoints(issuer, client))

    def current(self, now: datetime) -> Endpoints:
        """Return where to go; what is known outlives a short illness of the issuer.

        Raises:
            UnavailableError: The issuer does not say where.
        """
        if found := self._kept.within(FRESH, now):
            return found
        usable = self._kept.within(USABLE, now)
        self._kept.ask(now, wait_s=0 if usable else _WAIT_S)
        if found := self._kept.within(USABLE, now):
            return found
        raise UnavailableError(f"{self._issuer.url} does not answer now; try again shortly.")


def discovered(issuer: Issuer) -> Mapping[str, object]:
    """Return what the issuer says about itself.

    Raises:
        FetchError: It does not answer, or with the document of another issuer.
    """
    where = f"{issuer.url.rstrip('/')}/.well-known/openid-configuration"
    found = fetch_object(where)
    if found.get("issuer") != issuer.url:
        raise FetchError(f"{where} is of another issuer")
    return found


def url_in(document: Mapping[str, object], member: str, issuer: Issuer, setting: str) -> str:
    """Return a URL that the issuer names, which must be on its own server.

    Raises:
        FetchError: It names none, or another server's; then `setting` can say where.
    """
    url = document.get(member)
    if not isinstance(url, str) or not _is_of(url, issuer):
        message = f"{issuer.url} names no {member} on its own server; configure {setting}"
        raise FetchError(message)
    return url


def _is_of(url: str, issuer: Issuer) -> bool:
    # Browsers read a backslash as a slash, and drop what is not printed: the host would be another.
    if "\\" in url or " " in url or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        return parts.username is None and not parts.fragment and origin(url) == origin(issuer.url)
    except ValueError:
        return False


def _endpoints(issuer: Issuer, client: Client) -> Endpoints:
    if client.authorization_url and client.token_url:
        return Endpoints(client.authorization_url, client.token_url)
    found = discovered(issuer)
    methods = found.get("token_endpoint_auth_methods_supported")
    authorization, token = "authorization_endpoint", "token_endpoint"
    return Endpoints(
        client.authorization_url or url_in(found, authorization, issuer, "authorization_url"),
        client.token_url or url_in(found, token, issuer, "token_url"),
        names_itself=found.get("authorization_response_iss_parameter_supported") is True,
        takes_basic=not isinstance(methods, list) or "client_secret_basic" in methods,
    )
