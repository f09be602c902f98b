"""A cache of one document that an issuer publishes, fetched on demand and limited in age."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from app.oidc.fetching import FetchError

FRESH: Final = timedelta(minutes=5)  # younger values are used without a request
USABLE: Final = timedelta(minutes=15)  # older values are not used, even if the issuer is down
PAUSE: Final = timedelta(seconds=10)  # between two requests to one issuer

_log = logging.getLogger(__name__)

Published = TypeVar("Published")


@dataclass(frozen=True, slots=True)
class _Cached(Generic[Published]):
    value: Published
    fetched_at: datetime


class PublishedCache(Generic[Published]):
    """One document of an issuer, shared by all requests of the process."""

    def __init__(self, name: str, fetch: Callable[[], Published]) -> None:
        self._name = name
        self._fetch = fetch
        self._fetching = threading.Lock()
        self._cached: _Cached[Published] | None = None
        self._requested_at: datetime | None = None
        self._failed = False

    def within(self, period: timedelta, now: datetime) -> Published | None:
        """Return the cached value if it is younger than `period`."""
        cached = self._cached
        if cached is None or not timedelta(0) <= now - cached.fetched_at < period:
            return None
        return cached.value

    def refresh(self, now: datetime, *, wait_s: float) -> bool:
        """Fetch the value unless PAUSE forbids it; return whether the last fetch succeeded.

        While another thread fetches it, wait for at most `wait_s` seconds, then return False.
        """
        if not self._fetching.acquire(timeout=wait_s):
            return False
        try:
            if self._is_paused(now):
                return not self._failed
            self._requested_at = now
            self._cached = _Cached(self._fetch(), now)
            self._failed = False
        except FetchError as error:
            self._failed = True
            _log.warning("%s could not be fetched: %s", self._name, error)
        finally:
            self._fetching.release()
        return not self._failed

    def _is_paused(self, now: datetime) -> bool:
        # A clock that was set back must not block further requests.
        last = self._requested_at
        return last is not None and timedelta(0) <= now - last < PAUSE
