"""An issuer's signing keys: fetched when they are needed, forgotten when they are old."""

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from joserfc.errors import JoseError  # noqa: TID251
from joserfc.jwk import Key, import_key  # noqa: TID251

from app.domain.errors import UnavailableError
from app.domain.oidc import KEYS, Issuer
from app.oidc.fetching import FetchError, fetch_object, origin

FRESH: Final = timedelta(minutes=5)  # younger keys are used without asking
USABLE: Final = timedelta(minutes=15)  # older ones are not used, though the issuer be away
PAUSE: Final = timedelta(seconds=10)  # between two questions to one issuer, whoever asks
_WAIT_S: Final = 0.25
_MOST_KEYS: Final = 100
_FEWEST_RSA_BITS: Final = 2048

_PUBLIC_MEMBERS: Final = frozenset({"kty", "crv", "n", "e", "x", "y", "kid"})

_log = logging.getLogger(__name__)

Keys = Mapping[tuple[str, str], Key]


@dataclass(frozen=True, slots=True)
class _Known:
    keys: Keys
    fetched_at: datetime


class IssuerKeys:
    """The keys of one issuer, shared by all requests of the process."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._fetching = threading.Lock()
        self._known: _Known | None = None
        self._asked_at: datetime | None = None
        self._failed = False

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
        answered = self._ask(now, wait_s=0 if usable else _WAIT_S)
        if found := self._found(wanted, USABLE, now):
            return found
        if not answered or not _is_within(USABLE, self._known, now):
            message = f"The keys of {self._issuer.url} cannot be had now; try again shortly."
            raise UnavailableError(message)
        return None

    def _found(self, wanted: tuple[str, str], period: timedelta, now: datetime) -> Key | None:
        known = self._known
        return known.keys.get(wanted) if known and _is_within(period, known, now) else None

    def _ask(self, now: datetime, *, wait_s: float) -> bool:
        """Fetch the keys, unless that was tried just now; return whether the last try succeeded.

        While another request fetches them, this one waits for a moment, but not for a slow issuer.
        """
        if not self._fetching.acquire(timeout=wait_s):
            return False
        try:
            if self._is_paused(now):
                return not self._failed
            self._asked_at = now
            self._known = _Known(_usable(_fetched(self._issuer), self._issuer), now)
            self._failed = False
        except FetchError as error:
            self._failed = True
            _log.warning("the keys of %s cannot be had: %s", self._issuer.url, error)
        finally:
            self._fetching.release()
        return not self._failed

    def _is_paused(self, now: datetime) -> bool:
        # A clock that was set back must not stop the questions.
        return self._asked_at is not None and timedelta(0) <= now - self._asked_at < PAUSE


def _is_within(period: timedelta, known: _Known | None, now: datetime) -> bool:
    return known is not None and timedelta(0) <= now - known.fetched_at < period


def _fetched(issuer: Issuer) -> list[Any]:
    url = issuer.jwks_url or _discovered(issuer)
    keys = fetch_object(url).get("keys")
    if not isinstance(keys, list) or len(keys) > _MOST_KEYS:
        raise FetchError(f"{url} answers no list of keys")
    return keys


def _discovered(issuer: Issuer) -> str:
    """Return where the issuer says that its keys are, which must be on its own server."""
    where = f"{issuer.url.rstrip('/')}/.well-known/openid-configuration"
    found = fetch_object(where)
    url = found.get("jwks_uri")
    if found.get("issuer") != issuer.url:
        raise FetchError(f"{where} is of another issuer")
    if not isinstance(url, str) or origin(url) != origin(issuer.url):
        raise FetchError(f"{where} names keys on another server; configure jwks_url")
    return url


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
