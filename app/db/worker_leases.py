"""Who answers from memory, what they have heard of, and the connection they hear it on."""

import select
import socket
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

from app.db.models import WorkerLease
from app.domain.delivery.cache_lease import ABANDONED_S

CHANGES: Final = "registry_changes"
BARRIER: Final = "barrier"

_ABANDONED: Final = timedelta(seconds=ABANDONED_S)

# Whoever hears nothing for so long had better connect anew.
_OPTIONS: Final = "-c timezone=UTC -c statement_timeout=5000"
_CONNECT: Final = {
    "application_name": "prefix-registry listener",
    "connect_timeout": 5,
    "tcp_user_timeout": 5000,
    "options": _OPTIONS,
}


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification: what kind of thing it is about, and which."""

    kind: str
    about: str


class NotificationConnection:
    """A connection that hears of changes, in the order in which they were committed."""

    def __init__(self, connection: Connection, worker: UUID) -> None:
        self._connection = connection
        self._worker = worker
        self._own_channel = f"registry_worker_{worker.hex}"
        self._heard: list[Notification] = []
        driver: Any = connection.connection.driver_connection
        driver.add_notify_handler(lambda each: self._note(each.payload))
        self._driver = driver.pgconn
        self._woken, self._waking = socket.socketpair()
        self._poll = select.poll()
        self._poll.register(self._driver.socket, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)

    def join(self) -> None:
        """Listen, and write down that this process may answer from memory."""
        connection = self._connection
        connection.execute(text(f"LISTEN {CHANGES}"))
        connection.execute(text(f"LISTEN {self._own_channel}"))
        connection.execute(delete(WorkerLease).where(_is_abandoned()))
        # Nothing is remembered from before, so every barrier raised before is met.
        now = {"confirmed": _own_number(), "proved_at": func.now()}
        new = insert(WorkerLease).values({"id": self._worker, **now})
        connection.execute(new.on_conflict_do_update(index_elements=[WorkerLease.id], set_=now))
        # The row is durable, so whoever changes something after a crash still waits for us. What
        # follows need not be: losing it only makes others wait longer.
        connection.execute(text("SET synchronous_commit = off"))

    def prove(self, begun: float) -> bool:
        """Send ourselves the moment `begun`, which comes after all that was committed until then.

        Return whether others still wait for this process.
        """
        own = WorkerLease.id == self._worker
        renewed = update(WorkerLease).where(own).values(proved_at=func.now())
        if not self._connection.execute(renewed).rowcount:
            return False
        self._connection.execute(select_(func.pg_notify(self._own_channel, f"proof {begun!r}")))
        return True

    def confirm(self, barrier: int) -> None:
        """Let whoever waits at `barrier` know that everything before it was heard of."""
        met = update(WorkerLease).where(WorkerLease.id == self._worker)
        self._connection.execute(met.values(confirmed=barrier))

    def leave(self) -> None:
        self._connection.execute(delete(WorkerLease).where(WorkerLease.id == self._worker))

    def wake(self) -> None:
        """Let nothing wait for announcements any more; may be called in any thread."""
        with suppress(OSError):  # closed: nothing waits then either
            self._waking.send(b".")

    def close(self) -> None:
        self._woken.close()
        self._waking.close()

    def listen(self, timeout_s: float) -> list[Notification]:
        """Return what was announced since the last call, waiting for something if need be.

        What the driver read already is looked at first: the socket would not show it.
        """
        self._read()
        if not self._heard and self._poll.poll(timeout_s * 1000):
            self._driver.consume_input()
            self._read()
        heard, self._heard = self._heard, []
        return heard

    def _read(self) -> None:
        while (found := self._driver.notifies()) is not None:
            self._note(found.extra.decode())

    def _note(self, payload: str) -> None:
        kind, _, about = payload.partition(" ")
        self._heard.append(Notification(kind, about))


@contextmanager
def notification_connection(url: URL, worker: UUID) -> Iterator[NotificationConnection]:
    """Yield a connection of its own that hears of changes from here on."""
    engine = create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=_CONNECT
    )
    with (
        engine.connect() as connection,
        closing(NotificationConnection(connection, worker)) as found,
    ):
        found.join()
        yield found


def raise_barrier(connection: Connection) -> int | None:
    """Ask every process that answers from memory to confirm; None if there is none.

    A barrier's number is its transaction's. So whoever met one with a higher number heard of
    whatever was committed before this one was raised.
    """
    number = _own_number()
    anybody = select_(WorkerLease.id).where(~_is_abandoned()).exists()
    asked = select_(number, func.pg_notify(CHANGES, func.concat(f"{BARRIER} ", number)))
    row = connection.execute(asked.where(anybody)).one_or_none()
    return None if row is None else int(row[0])


def all_confirmed(connection: Connection, barrier: int) -> bool:
    """Return whether every process that answers from memory has confirmed."""
    late = WorkerLease.confirmed < barrier
    waited_for = select_(WorkerLease.id).where(late, ~_is_abandoned()).exists()
    return not connection.scalar(select_(waited_for))


def _own_number() -> ColumnElement[int]:
    """Return the number of the transaction that asks: higher than those of all before it."""
    return cast(cast(func.pg_current_xact_id(), Text), BigInteger)


def _is_abandoned() -> ColumnElement[bool]:
    return WorkerLease.proved_at < func.now() - _ABANDONED
