"""Readiness: what the probes of the database and the store found last, kept in memory."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Timer
from typing import Final, Generic, TypeVar

from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from app.db.circuit_breaker import CircuitBreaker
from app.db.clock import Clock, elapsed
from app.db.schema import schema_revision
from app.db.session import engine_for, sessions_on
from app.domain.errors import UnavailableError
from app.storage.blobs import Blobs

DATABASE_TIMEOUT_S: Final = 3.0
"""A database that takes longer to answer a probe counts as one that hangs."""

# Longer than a round of any probe, with its time-outs and the pause after it.
_STALE_AFTER_S: Final = 20.0
_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """Whether the database answered, and the revision of its schema, which may be None."""

    is_available: bool
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class StoreState:
    """The problem of the store, None if it is usable; an unsuitable store lacks something."""

    problem: str | None = None
    is_unsuitable: bool = False


class LatestResult(Generic[T]):
    """The latest result of a probe. After some time without another, it counts as unknown."""

    def __init__(self) -> None:
        self._noted: tuple[T, float] | None = None

    def note(self, result: T) -> None:
        self._noted = result, elapsed()

    @property
    def age_s(self) -> float | None:
        """The age of the result in seconds; None without a result."""
        return None if self._noted is None else elapsed() - self._noted[1]

    @property
    def current(self) -> T | None:
        """The result; None if there is none, or if it is too old to rely on."""
        noted = self._noted
        return None if noted is None or elapsed() - noted[1] > _STALE_AFTER_S else noted[0]


@dataclass(frozen=True, slots=True)
class Readiness:
    """The latest results of the probes of a process."""

    database: LatestResult[DatabaseState] = field(default_factory=LatestResult)
    store: LatestResult[StoreState] = field(default_factory=LatestResult)


class DatabaseProbe:
    """Asks the database, on its own connection, and operates the breaker of the others.

    It also measures the registry's time, because every request depends on it.
    """

    def __init__(
        self,
        url: str | URL,
        latest: LatestResult[DatabaseState],
        breaker: CircuitBreaker,
        clock: Clock,
        *,
        timeout_s: float = DATABASE_TIMEOUT_S,
    ) -> None:
        self._latest = latest
        self._breaker = breaker
        self._clock = clock
        self._timeout_s = timeout_s
        self._own_breaker = CircuitBreaker()
        self._engine = engine_for(url, pool_size=1)
        self._own_breaker.guard(self._engine)
        self._sessions = sessions_on(self._engine)

    def run(self) -> None:
        """Probe once, for little longer than the time-out."""
        self._latest.note(self._state())

    def end(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    def _state(self) -> DatabaseState:
        try:
            with self._limited(), self._sessions() as session:
                revision = schema_revision(session)
        except SQLAlchemyError:
            return DatabaseState(is_available=False)
        self._breaker.close()
        if revision is not None:
            self._measure()
        return DatabaseState(is_available=True, revision=revision)

    def _measure(self) -> None:
        try:
            with self._limited():
                self._clock.measure(self._sessions)
        except SQLAlchemyError:
            pass  # a schema of another release; the clock goes on from its last measurement

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Break off what takes too long: no time-out of the driver ends a statement."""
        self._own_breaker.close()
        watchdog = Timer(self._timeout_s, self._note_hang)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()
            watchdog.join()

    def _note_hang(self) -> None:
        self._latest.note(DatabaseState(is_available=False))
        if not self._breaker.is_open:
            _log.error("the database does not answer; its connections are broken off")
        self._breaker.open()
        self._own_breaker.open()


def probe_store(blobs: Blobs, latest: LatestResult[StoreState]) -> None:
    """Probe the store once; its calls have deadlines. The log names each new problem once."""
    try:
        blobs.check()
    except UnavailableError as error:
        known = latest.current
        if known is None or known.problem != error.detail:
            _log.warning("the object store is not usable: %s", error.detail)
        latest.note(StoreState(problem=error.detail, is_unsuitable="lacking" in error.members))
    else:
        latest.note(StoreState())
