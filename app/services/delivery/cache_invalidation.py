"""A thread that hears of changes, makes memory forget, and says so to whoever waits for it."""

import logging
import threading
from typing import Final
from uuid import UUID, uuid4

from psycopg import Error as DriverError
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from app.db.worker_leases import (
    BARRIER,
    Notification,
    NotificationConnection,
    notification_connection,
)
from app.domain.delivery.cache_lease import PROOF_EVERY_S
from app.services.delivery.cache import ChannelCache, elapsed

_AGAIN_AFTER_S: Final = 1.0
_log = logging.getLogger(__name__)


class Listener:
    """Keeps the lease of a memory while its connection lives; connects again when it dies."""

    def __init__(self, url: URL, cache: ChannelCache, proof_every_s: float = PROOF_EVERY_S) -> None:
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
                _log.warning("answers come from the database now: %s", type(error).__name__)
            finally:
                self._cache.end()
            self._stopped.wait(_AGAIN_AFTER_S)


class InvalidationStream:
    """One connection's life: proofs in time, and every notification in its order."""

    def __init__(
        self,
        notifications: NotificationConnection,
        cache: ChannelCache,
        proof_every_s: float = PROOF_EVERY_S,
    ) -> None:
        self._connection = notifications
        self._cache = cache
        self._proof_every_s = proof_every_s
        self._came_back = True

    def until(self, stopped: threading.Event) -> None:
        """Listen until `stopped`, or until others no longer wait for this process."""
        # What was read before we listened may have changed unheard since.
        self._cache.invalidate_everything()
        while not stopped.is_set():
            begun = elapsed()
            if not self._prove(begun):
                _log.warning("this process was taken for dead; it begins anew")
                return
            until = begun + self._proof_every_s
            while not stopped.is_set() and (left := until - elapsed()) > 0:
                self.apply(self._connection.listen(left))
        self._cache.end()
        self._connection.leave()

    def _prove(self, begun: float) -> bool:
        if not self._came_back:
            _log.warning("no notification came back in time; is there a pooler in between?")
        self._came_back = False
        return self._connection.prove(begun)

    def apply(self, notifications: list[Notification]) -> None:
        """Forget first; then confirm, and count the proof that came behind the changes."""
        barrier = 0
        for each in notifications:
            if each.kind == BARRIER:
                barrier = max(barrier, int(each.about))
            elif each.kind == "proof":
                # However late it comes: what was committed before it was sent came before it.
                self._came_back = True
                self._cache.renew(float(each.about))
            else:
                invalidate(self._cache, each)
        if barrier:
            self._connection.confirm(barrier)


def invalidate(cache: ChannelCache, notifications: Notification) -> None:
    """Forget what an announced change may concern: everything, if that is not known."""
    try:
        about = UUID(notifications.about)
    except ValueError:
        cache.invalidate_everything()
        return
    if notifications.kind == "principal":
        cache.invalidate_tokens(lambda token: token.caller.id == about)
    elif notifications.kind == "prefix":
        cache.invalidate_channels(lambda channel: channel.prefix_id == about)
    elif notifications.kind == "version":
        cache.invalidate_channels(lambda channel: channel.serves(about))
    else:
        cache.invalidate_everything()
