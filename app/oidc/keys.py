"""An issuer's signing keys: those of its published keys that may verify tokens, by key id."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from joserfc.errors import JoseError  # noqa: TID251
from joserfc.jwk import Key, import_key  # noqa: TID251

from app.domain.errors import UnavailableError
from app.domain.identity.oidc import KEYS, Issuer
from app.oidc.discovery import discovered, url_in
from app.oidc.fetching import FetchError, fetch_object
from app.oidc.published_cache import FRESH, USABLE, PublishedCache

_WAIT_S: Final = 0.25
_MOST_KEYS: Final = 100
_FEWEST_RSA_BITS: Final = 2048

_PUBLIC_MEMBERS: Final = frozenset({"kty", "crv", "n", "e", "x", "y", "kid"})

Keys = Mapping[tuple[str, str], Key]


class IssuerKeys:
    """The keys of one issuer, shared by all requests of the process."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        name = f"the keys of {issuer.url}"
        self._cache = PublishedCache(name, lambda: _usable(_fetched(issuer), issuer))

    def key(self, key_id: str, algorithm: str, now: datetime) -> Key | None:
        """Return the key for a token; None if the issuer has no such key.

        An unknown key id causes a request to the issuer, which may have a new key. Since anyone
        can invent key ids, requests are rate-limited.

        Raises:
            UnavailableError: The issuer does not provide its keys.
        """
        wanted = (key_id, algorithm)
        if found := self._found(wanted, FRESH, now):
            return found
        usable = self._found(wanted, USABLE, now)
        refreshed = self._cache.refresh(now, wait_s=0 if usable else _WAIT_S)
        if found := self._found(wanted, USABLE, now):
            return found
        if not refreshed or self._cache.within(USABLE, now) is None:
            message = f"The keys of {self._issuer.url} are not available; try again shortly."
            raise UnavailableError(message)
        return None

    def _found(self, wanted: tuple[str, str], period: timedelta, now: datetime) -> Key | None:
        keys = self._cache.within(period, now)
        return None if keys is None else keys.get(wanted)


def _fetched(issuer: Issuer) -> list[Any]:
    url = issuer.jwks_url or url_in(discovered(issuer), "jwks_uri", issuer, "jwks_url")
    keys = fetch_object(url).get("keys")
    if not isinstance(keys, list) or len(keys) > _MOST_KEYS:
        raise FetchError(f"{url} returns no list of at most {_MOST_KEYS} keys")
    return keys


def _usable(keys: list[Any], issuer: Issuer) -> Keys:
    """Return the keys by id and algorithm. Duplicates are dropped, because either may be meant."""
    found = [(name, key) for document in keys for name, key in _of_key(document, issuer)]
    counts = Counter(name for name, _ in found)
    return {name: key for name, key in found if counts[name] == 1}


def _of_key(document: Any, issuer: Issuer) -> list[tuple[tuple[str, str], Key]]:  # noqa: ANN401
    if not isinstance(document, dict) or document.get("use", "sig") != "sig":
        return []
    key_id, kind = document.get("kid"), (document.get("kty"), document.get("crv"))
    algorithms = [name for name in sorted(issuer.algorithms) if KEYS[name] == kind]
    if document.get("alg") is not None:
        algorithms = [name for name in algorithms if name == document["alg"]]
    if not isinstance(key_id, str) or not algorithms:
        return []
    try:
        public = {name: document[name] for name in _PUBLIC_MEMBERS & document.keys()}
        if kind[0] == "RSA" and len(public.get("n", "")) * 6 < _FEWEST_RSA_BITS:
            return []
        key = import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return []  # a broken key must not invalidate the others
    return [((key_id, algorithm), key) for algorithm in algorithms]
