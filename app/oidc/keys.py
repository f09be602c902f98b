"""An issuer's signing keys: which of those that it publishes may verify, found by name."""

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
        what = f"the keys of {issuer.url}"
        self._kept = PublishedCache(what, lambda: _usable(_fetched(issuer), issuer))

    def key(self, key_id: str, algorithm: str, now: datetime) -> Key | None:
        """Return the key for a token; None if the issuer has none of that name.

        An unknown name is worth one question to the issuer, which may have a new key; but
        strangers can invent names, so there is a pause between questions.

        Raises:
            UnavailableError: The issuer does not say which keys it has.
        """
        wanted = (key_id, algorithm)
        if found := self._found(wanted, FRESH, now):
            return found
        usable = self._found(wanted, USABLE, now)
        answered = self._kept.ask(now, wait_s=0 if usable else _WAIT_S)
        if found := self._found(wanted, USABLE, now):
            return found
        if not answered or self._kept.within(USABLE, now) is None:
            message = f"The keys of {self._issuer.url} cannot be had now; try again shortly."
            raise UnavailableError(message)
        return None

    def _found(self, wanted: tuple[str, str], period: timedelta, now: datetime) -> Key | None:
        keys = self._kept.within(period, now)
        return None if keys is None else keys.get(wanted)


def _fetched(issuer: Issuer) -> list[Any]:
    url = issuer.jwks_url or url_in(discovered(issuer), "jwks_uri", issuer, "jwks_url")
    keys = fetch_object(url).get("keys")
    if not isinstance(keys, list) or len(keys) > _MOST_KEYS:
        raise FetchError(f"{url} answers no list of keys")
    return keys


def _usable(keys: list[Any], issuer: Issuer) -> Keys:
    """Return the keys by name and algorithm; two of one name are none, for either may be meant."""
    found = [(name, key) for each in keys for name, key in _of_key(each, issuer)]
    counted = Counter(name for name, _ in found)
    return {name: key for name, key in found if counted[name] == 1}


def _of_key(document: Any, issuer: Issuer) -> list[tuple[tuple[str, str], Key]]:  # noqa: ANN401
    if not isinstance(document, dict) or document.get("use", "sig") != "sig":
        return []
    key_id, kind = document.get("kid"), (document.get("kty"), document.get("crv"))
    algorithms = [each for each in sorted(issuer.algorithms) if KEYS[each] == kind]
    if document.get("alg") is not None:
        algorithms = [each for each in algorithms if each == document["alg"]]
    if not isinstance(key_id, str) or not algorithms:
        return []
    try:
        public = {name: document[name] for name in _PUBLIC_MEMBERS & document.keys()}
        if kind[0] == "RSA" and len(public.get("n", "")) * 6 < _FEWEST_RSA_BITS:
            return []
        key = import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return []  # one broken key does not take the others with it
    return [((key_id, algorithm), key) for algorithm in algorithms]
