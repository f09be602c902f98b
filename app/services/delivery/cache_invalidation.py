"""Cache invalidation: a thread that applies notifications to the cache and confirms barriers."""

import logging
import threading
from typing import Final
from uuid import UUID, uuid4

from psycopg import Error as DriverError
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from app.db.clock import elapsed
from app.db.worker_leases import (
    BARRIER,
    Notification,
    NotificationConnection,
    notification_connection,
)
from app.domain.delivery.cache_lease import PROOF_INTERVAL_S
from app.services.delivery.cache import ChannelCache

_RECONNECT_AFTER_S: Final = 1.0
_log = logging.getLogger(__name__)


class Listener:
    """Keeps a cache's lease renewed while its connection lives; reconnects when it is lost."""

    def __init__(
        self, url: URL, cache: ChannelCache, proof_every_s: float = PROOF_INTERVAL_S
    ) -> None:
        self._url = url
        self._cache = cache
        self._proof_every_s = proof_every_s
        self._worker = uuid4()
        self._stopped = threading.Event()
        self._connection: NotificationConnection | None = None
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._connection is not None:
            self._connection.wake()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with notification_connection(self._url, self._worker) as self._connection:
                    stream = InvalidationStream(self._connection, self._cache, self._proof_every_s)
                    stream.until(self._stopped)
            except (SQLAlchemyError, DriverError, OSError) as error:
                _log.warning(
                    "cache disabled, responses come from the database: %s", type(error).__name__
                )
            finally:
                self._cache.end()
            self._stopped.wait(_RECONNECT_AFTER_S)


class InvalidationStream:
    """The notifications of one connection, applied in order, with proofs sent at intervals.

    A proof is a notification that the process sends to itself. Its return shows that every change
    committed before it was sent has been received.
    """

    def __init__(
        self,
        notifications: NotificationConnection,
        cache: ChannelCache,
        proof_every_s: float = PROOF_INTERVAL_S,
    ) -> None:
        self._connection = notifications
        self._cache = cache
        self._proof_every_s = proof_every_s
        self._proof_returned = True

    def until(self, stopped: threading.Event) -> None:
        """Listen until `stopped`, or until writers no longer wait for this process."""
        # Entries that were read before the connection listened may be out of date.
        self._cache.invalidate_everything()
        while not stopped.is_set():
            begun = elapsed()
            if not self._prove(begun):
                _log.warning("the lease of this process was declared dead; starting over")
                return
            until = begun + self._proof_every_s
            while not stopped.is_set() and (left := until - elapsed()) > 0:
                self.apply(self._connection.listen(left))
        self._cache.end()
        self._connection.leave()

    def _prove(self, begun: float) -> bool:
        if not self._proof_returned:
            _log.warning(
                "no notification returned in time; does a connection pooler stand in between?"
            )
        self._proof_returned = False
        return self._connection.prove(begun)

    def apply(self, notifications: list[Notification]) -> None:
        """Invalidate the cache in the order of the notifications, then confirm barriers."""
        barrier = 0
        for notification in notifications:
            if notification.kind == BARRIER:
                barrier = max(barrier, int(notification.about))
            elif notification.kind == "proof":
                # A late proof is valid too: earlier commits were notified before it.
                self._proof_returned = True
                self._cache.renew(float(notification.about))
            else:
                invalidate(self._cache, notification)
        if barrier:
            self._connection.confirm(barrier)


def invalidate(cache: ChannelCache, notification: Notification) -> None:
    """Invalidate the entries that a change may affect, or everything if they are unknown."""
    try:
        about = UUID(notification.about)
    except ValueError:
        cache.invalidate_everything()
        return
    cache.note_change(about)
    if notification.kind == "principal":
        cache.invalidate_tokens(lambda token: token.caller.id == about)
    elif notification.kind == "prefix":
        cache.invalidate_channels(lambda channel: channel.prefix_id == about)
    elif notification.kind == "version":
        cache.invalidate_channels(lambda channel: channel.serves(about))
    else:
        cache.invalidate_everything()
