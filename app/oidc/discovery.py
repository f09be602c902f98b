"""An issuer's discovery document: the URLs of its keys and of its login endpoints."""

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
    """The URLs of the authorization and token endpoints, and the features they support."""

    authorization_url: str
    token_url: str
    names_itself: bool = False
    takes_basic: bool = True


class IssuerEndpoints:
    """The endpoints of one issuer, shared by all requests of the process."""

    def __init__(self, issuer: Issuer, client: Client) -> None:
        self._issuer = issuer
        name = f"the endpoints of {issuer.url}"
        self._cache = PublishedCache(name, lambda: _endpoints(issuer, client))

    def current(self, now: datetime) -> Endpoints:
        """Return the endpoints; cached ones stay usable during a short outage of the issuer.

        Raises:
            UnavailableError: The issuer does not provide them.
        """
        if found := self._cache.within(FRESH, now):
            return found
        usable = self._cache.within(USABLE, now)
        self._cache.refresh(now, wait_s=0 if usable else _WAIT_S)
        if found := self._cache.within(USABLE, now):
            return found
        raise UnavailableError(f"{self._issuer.url} does not respond; try again shortly.")


def discovered(issuer: Issuer) -> Mapping[str, object]:
    """Fetch the issuer's discovery document.

    Raises:
        FetchError: The issuer does not respond, or returns the document of another issuer.
    """
    url = f"{issuer.url.rstrip('/')}/.well-known/openid-configuration"
    found = fetch_object(url)
    if found.get("issuer") != issuer.url:
        raise FetchError(f"{url} is the document of another issuer")
    return found


def url_in(document: Mapping[str, object], member: str, issuer: Issuer, setting: str) -> str:
    """Return a URL from the discovery document, which must be on the issuer's own server.

    Raises:
        FetchError: The URL is missing or on another server; `setting` can configure it instead.
    """
    url = document.get(member)
    if not isinstance(url, str) or not _is_on_server_of(url, issuer):
        message = f"{issuer.url} names no {member} on its own server; configure {setting}"
        raise FetchError(message)
    return url


def _is_on_server_of(url: str, issuer: Issuer) -> bool:
    # Browsers read a backslash as a slash and drop unprintable characters, which changes the host.
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
