"""The circuit breaker of the database: without answers, nothing waits for the connections."""

import os
import socket
from contextlib import suppress
from threading import Lock
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class DatabaseHangsError(PoolTimeoutError):
    """The database has stopped answering; its connections are not used until it answers again."""


class CircuitBreaker:
    """Refuses the connections of an engine while the database hangs; thread-safe.

    A frozen server runs none of its own time-outs, and its system still acknowledges every packet,
    so a statement would wait without end. Opening the breaker shuts down the sockets of all
    connections: the threads that wait for them fail at once, and so does every later request for a
    connection. Otherwise, the requests would take all threads of the process.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_open = False
        # Duplicates, because a driver may close its own socket at any time, and the system then
        # gives its number to another one.
        self._sockets: dict[Any, socket.socket] = {}

    @property
    def is_open(self) -> bool:
        return self._is_open

    def guard(self, engine: Engine) -> None:
        """Apply to all connections of an engine, except those that leave its pool."""
        event.listen(engine, "do_connect", self._require_closed)
        event.listen(engine, "checkout", self._require_closed)
        event.listen(engine, "connect", self._add)
        for ending in ("close", "detach"):
            event.listen(engine, ending, self._remove)

    def open(self) -> None:
        """Break off all connections and refuse new ones, until `close`."""
        with self._lock:
            self._is_open = True
            for each in self._sockets.values():
                _shut_down(each)

    def close(self) -> None:
        """Allow connections again."""
        with self._lock:
            self._is_open = False

    def _require_closed(self, *_: object) -> None:
        if self._is_open:
            raise DatabaseHangsError("the database does not answer")

    def _add(self, connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
        duplicate = socket.socket(fileno=os.dup(connection.pgconn.socket))
        with self._lock:
            self._sockets[connection] = duplicate
            if self._is_open:  # it was opened while this connection was being made
                _shut_down(duplicate)

    def _remove(self, connection: object, _record: object) -> None:
        with self._lock:
            duplicate = self._sockets.pop(connection, None)
        if duplicate is not None:
            duplicate.close()


def _shut_down(connected: socket.socket) -> None:
    with suppress(OSError):  # the other side has closed it
        connected.shutdown(socket.SHUT_RDWR)
