"""Worker leases: the processes that serve from caches, their notifications, and barriers."""

import logging
import select
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    URL,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    NullPool,
    Text,
    cast,
    create_engine,
    delete,
    func,
    text,
    update,
)
from sqlalchemy import select as select_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from app.db.models import WorkerLease
from app.domain.delivery.cache_lease import ABANDONED_AFTER_S, LONGEST_WAIT_S

CHANGES: Final = "registry_changes"
BARRIER: Final = "barrier"

_FIRST_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.02
_ABANDONED: Final = timedelta(seconds=ABANDONED_AFTER_S)

# A connection that is unresponsive for this long is replaced.
_OPTIONS: Final = "-c timezone=UTC -c statement_timeout=5000"
_CONNECT: Final = {
    "application_name": "prefix-registry listener",
    "connect_timeout": 5,
    "tcp_user_timeout": 5000,
    "options": _OPTIONS,
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification of a change: the kind of object, and its id or other argument."""

    kind: str
    about: str


class NotificationConnection:
    """A connection that receives notifications in the order in which changes were committed."""

    def __init__(self, connection: Connection, worker: UUID) -> None:
        self._connection = connection
        self._worker = worker
        self._own_channel = f"registry_worker_{worker.hex}"
        self._received: list[Notification] = []
        driver: Any = connection.connection.driver_connection
        driver.add_notify_handler(lambda notify: self._add(notify.payload))
        self._driver = driver.pgconn
        self._woken, self._waking = socket.socketpair()
        self._poll = select.poll()
        self._poll.register(self._driver.socket, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)

    def join(self) -> None:
        """Start listening, and insert the lease by which this process may serve from its cache."""
        connection = self._connection
        connection.execute(text(f"LISTEN {CHANGES}"))
        connection.execute(text(f"LISTEN {self._own_channel}"))
        connection.execute(delete(WorkerLease).where(_is_abandoned()))
        # The cache is empty, so every earlier barrier counts as confirmed.
        now = {"confirmed": _own_number(), "proved_at": func.now()}
        new = insert(WorkerLease).values({"id": self._worker, **now})
        connection.execute(new.on_conflict_do_update(index_elements=[WorkerLease.id], set_=now))
        # The lease is durable, so that writers still wait for this process after a crash of the
        # database. Later updates need not be: losing one only makes writers wait longer.
        connection.execute(text("SET synchronous_commit = off"))

    def prove(self, begun: float) -> bool:
        """Send this process a proof with the time `begun`, behind all changes committed before.

        Return whether the lease still exists, so that writers wait for this process.
        """
        own = WorkerLease.id == self._worker
        renewed = update(WorkerLease).where(own).values(proved_at=func.now())
        if not self._connection.execute(renewed).rowcount:
            return False
        self._connection.execute(select_(func.pg_notify(self._own_channel, f"proof {begun!r}")))
        return True

    def confirm(self, barrier: int) -> None:
        """Confirm that the cache is invalidated for every change before `barrier`."""
        own = update(WorkerLease).where(WorkerLease.id == self._worker)
        self._connection.execute(own.values(confirmed=barrier))

    def leave(self) -> None:
        self._connection.execute(delete(WorkerLease).where(WorkerLease.id == self._worker))

    def wake(self) -> None:
        """End a wait in `listen`; any thread may call this."""
        with suppress(OSError):  # the connection is closed, so nothing waits
            self._waking.send(b".")

    def close(self) -> None:
        self._woken.close()
        self._waking.close()

    def listen(self, timeout_s: float) -> list[Notification]:
        """Return the notifications since the last call; wait up to `timeout_s` if there are none.

        Notifications that the driver has already read come first: the socket is not readable for
        them.
        """
        self._read()
        if not self._received and self._poll.poll(timeout_s * 1000):
            self._driver.consume_input()
            self._read()
        received, self._received = self._received, []
        return received

    def _read(self) -> None:
        while (notify := self._driver.notifies()) is not None:
            self._add(notify.extra.decode())

    def _add(self, payload: str) -> None:
        kind, _, about = payload.partition(" ")
        self._received.append(Notification(kind, about))


@contextmanager
def notification_connection(url: URL, worker: UUID) -> Iterator[NotificationConnection]:
    """Yield a dedicated connection that receives all notifications from its creation."""
    engine = create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=_CONNECT
    )
    with (
        engine.connect() as connection,
        closing(NotificationConnection(connection, worker)) as notifications,
    ):
        notifications.join()
        yield notifications


def wait_until_invalidated(engine: Engine) -> None:
    """Wait until every process has confirmed, or the longest lease has expired on this clock.

    If the database becomes unavailable, the change stays committed, and waiting for the longest
    lease is sufficient without it.
    """
    until = time.monotonic() + LONGEST_WAIT_S
    try:
        with engine.connect() as pooled:
            connection = pooled.execution_options(isolation_level="AUTOCOMMIT")
            barrier = raise_barrier(connection)
            if barrier is None or _are_confirmed(connection, barrier, until):
                return
        _log.warning("a process did not confirm an invalidation before its lease expired")
    except SQLAlchemyError as error:
        _log.warning("waiting for cache leases to expire: %s", type(error).__name__)
        time.sleep(max(0.0, until - time.monotonic()))


def raise_barrier(connection: Connection) -> int | None:
    """Ask every process with a lease to confirm, and return the barrier; None if there is none.

    A barrier's number is that of its transaction. A process that has confirmed a higher number
    has therefore received every change committed before this barrier was raised.
    """
    number = _own_number()
    any_lease = select_(WorkerLease.id).where(~_is_abandoned()).exists()
    request = select_(number, func.pg_notify(CHANGES, func.concat(f"{BARRIER} ", number)))
    row = connection.execute(request.where(any_lease)).one_or_none()
    return None if row is None else int(row[0])


def all_confirmed(connection: Connection, barrier: int) -> bool:
    """Return whether every process with a lease has confirmed the barrier."""
    late = WorkerLease.confirmed < barrier
    unconfirmed = select_(WorkerLease.id).where(late, ~_is_abandoned()).exists()
    return not connection.scalar(select_(unconfirmed))


def _are_confirmed(connection: Connection, barrier: int, until: float) -> bool:
    pause = _FIRST_PAUSE_S
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        if all_confirmed(connection, barrier):
            return True
        pause = min(2 * pause, _LONGEST_PAUSE_S)
    return False


def _own_number() -> ColumnElement[int]:
    """Return the current transaction's number, which is higher than those of earlier ones."""
    return cast(cast(func.pg_current_xact_id(), Text), BigInteger)


def _is_abandoned() -> ColumnElement[bool]:
    return WorkerLease.proved_at < func.now() - _ABANDONED
