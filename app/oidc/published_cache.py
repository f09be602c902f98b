"""What an issuer publishes about itself: fetched when it is needed, forgotten when it is old."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from app.oidc.fetching import FetchError

FRESH: Final = timedelta(minutes=5)  # what is younger is used without asking
USABLE: Final = timedelta(minutes=15)  # what is older is not used, though the issuer be away
PAUSE: Final = timedelta(seconds=10)  # between two questions to one issuer, whoever asks

_log = logging.getLogger(__name__)

Published = TypeVar("Published")


@dataclass(frozen=True, slots=True)
class _Known(Generic[Published]):
    value: Published
    fetched_at: datetime


class PublishedCache(Generic[Published]):
    """One thing that an issuer publishes, shared by all requests of the process."""

    def __init__(self, what: str, fetch: Callable[[], Published]) -> None:
        self._what = what
        self._fetch = fetch
        self._fetching = threading.Lock()
        self._known: _Known[Published] | None = None
        self._asked_at: datetime | None = None
        self._failed = False

    def within(self, period: timedelta, now: datetime) -> Published | None:
        """Return what is known if it is younger than `period`."""
        known = self._known
        if known is None or not timedelta(0) <= now - known.fetched_at < period:
            return None
        return known.value

    def ask(self, now: datetime, *, wait_s: float) -> bool:
        """Fetch it, unless that was tried just now; return whether the last try succeeded.

        While another request fetches it, this one waits for a moment, but not for a slow issuer.
        """
        if not self._fetching.acquire(timeout=wait_s):
            return False
        try:
            if self._is_paused(now):
                return not self._failed
            self._asked_at = now
            self._known = _Known(self._fetch(), now)
            self._failed = False
        except FetchError as error:
            self._failed = True
            _log.warning("%s cannot be had: %s", self._what, error)
        finally:
            self._fetching.release()
        return not self._failed

    def _is_paused(self, now: datetime) -> bool:
        # A clock that was set back must not stop the questions.
        return self._asked_at is not None and timedelta(0) <= now - self._asked_at < PAUSE
