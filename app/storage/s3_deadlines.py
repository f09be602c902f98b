"""Bounds of the calls of the store: the time to make progress, and the calls at once.

A time-out of a socket starts again with every byte, so a store that sends one byte a second holds
its caller for as long as it likes. A deadline covers the whole call, its repetitions included.
"""

import math
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, Final

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

from app.domain.errors import UnavailableError

CALL_S = 10.0
"""From the connection to the first byte of the response, and for each chunk of a body."""

_ROUND_S: Final = 0.05
# Without progress for this long, a call does not count as one that will end soon.
_STALLED_S: Final = 3.0
_of_thread = threading.local()


class Bulkhead:
    """A bound on the calls in progress, so that a store that hangs takes no more threads.

    A call waits for another one to end while the store makes progress, and is refused at once
    while it does not.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._calls: set[Deadline] = set()
        self._changed = threading.Condition()

    @contextmanager
    def entered(self, call: "Deadline") -> Iterator[None]:
        with self._changed:
            self._wait()
            self._calls.add(call)
        try:
            yield
        finally:
            with self._changed:
                self._calls.discard(call)
                self._changed.notify()

    def _wait(self) -> None:
        """Wait until there is room.

        Raises:
            UnavailableError: The store does not get on with the calls in progress.
        """
        begun = monotonic()
        while len(self._calls) >= self._limit:
            now = monotonic()
            slowest_s = max(now - each.progressed_at for each in self._calls)
            if slowest_s > _STALLED_S or now - begun > CALL_S:
                raise UnavailableError("The object store is slow and busy; try again shortly.")
            self._changed.wait(_ROUND_S)


READS: Final = Bulkhead(16)
WRITES: Final = Bulkhead(16)
PROBES: Final = Bulkhead(4)


class Deadline:
    """The time by which the store must have made progress; in between, it rests."""

    def __init__(self, limit_s: float, bulkhead: Bulkhead) -> None:
        self.progressed_at = math.inf
        self._limit_s = limit_s
        self._bulkhead = bulkhead
        self._expires_at = math.inf
        self._socket: socket.socket | None = None
        self._has_expired = False

    def restart(self) -> None:
        """Note that there was progress."""
        self.progressed_at = monotonic()
        self._expires_at = self.progressed_at + self._limit_s

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the deadline for one call, or for one chunk of a body.

        Raises:
            UnavailableError: The store made no progress in time, or is busy with other calls.
        """
        with self._bulkhead.entered(self):
            yield from self._run()

    def _run(self) -> Iterator[None]:
        outer = getattr(_of_thread, "deadline", None)
        _of_thread.deadline = self
        self.restart()
        try:
            yield
        finally:
            self._expires_at = math.inf
            _of_thread.deadline = outer
            self._require_unexpired()

    def use(self, used: socket.socket) -> None:
        """Note the connection that breaks off when the deadline expires."""
        self._require_unexpired()
        self._socket = used

    def expire(self, now: float) -> None:
        """Break off the connection if the deadline has expired."""
        if now < self._expires_at or self._has_expired:
            return
        self._has_expired = True
        if self._socket is not None:
            # Not the method of an SSL socket, which changes what another thread is reading from.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _require_unexpired(self) -> None:
        if self._has_expired:
            message = f"The object store did not respond within {self._limit_s:g} s; try again."
            raise UnavailableError(message)


class _Watchdog:
    """A thread that ends the connections of expired deadlines; it waits while there are none."""

    def __init__(self) -> None:
        self._watched: set[Deadline] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, deadline: Deadline) -> None:
        with self._changed:
            self._watched.add(deadline)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif len(self._watched) == 1:
                self._changed.notify()

    def remove(self, deadline: Deadline) -> None:
        with self._changed:  # from here on, the connection may serve another call
            self._watched.discard(deadline)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._watched)
                now = monotonic()
                for each in self._watched:
                    each.expire(now)
                self._changed.wait(_ROUND_S)


_watchdog: Final = _Watchdog()


@contextmanager
def watched(limit_s: float | None = None, bulkhead: Bulkhead = READS) -> Iterator[Deadline]:
    """Yield a deadline that the watchdog enforces until the block ends."""
    deadline = Deadline(CALL_S if limit_s is None else limit_s, bulkhead)
    _watchdog.add(deadline)
    try:
        yield deadline
    finally:
        _watchdog.remove(deadline)


@contextmanager
def within(limit_s: float | None = None, bulkhead: Bulkhead = READS) -> Iterator[Deadline]:
    """Run one call under a deadline.

    Raises:
        UnavailableError: The store made no progress in time, or is busy with other calls.
    """
    with watched(limit_s, bulkhead) as deadline, deadline.running():
        yield deadline


def enforce_on(client: Any) -> None:  # noqa: ANN401 - botocore types neither part
    """Let the deadlines of the calling thread end the connections of an S3 client."""
    session = client._endpoint.http_session  # noqa: SLF001 - there is no public way
    pools = {"http": _Pool, "https": _SecurePool}
    session._pool_classes_by_scheme = pools  # noqa: SLF001
    session._manager.pool_classes_by_scheme = pools  # noqa: SLF001


class _Watched:
    """Tells the deadline of its thread which socket a call uses."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self._note()

    def request(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        self._note()
        return super().request(*arguments, **named)  # type: ignore[misc]

    def _note(self) -> None:
        deadline: Deadline | None = getattr(_of_thread, "deadline", None)
        if deadline is not None and self.sock is not None:
            deadline.use(self.sock)


class _Connection(_Watched, AWSHTTPConnection):  # type: ignore[misc]
    pass


class _SecureConnection(_Watched, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _Pool(AWSHTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(AWSHTTPSConnectionPool):
    ConnectionCls = _SecureConnection
