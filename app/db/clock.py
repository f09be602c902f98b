"""The registry's time, which is the database's: a process whose clock is wrong changes nothing."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, DateTime, ScalarSelect, func, select
from sqlalchemy.orm import Session

from app.db.session import Sessions, expect

_SLOWEST_ANSWER_S: Final = 1.0


def registry_time() -> ColumnElement[datetime]:
    """Return the expression of the present time, which advances within a transaction.

    The function is part of the schema, so that every statement and every process agrees on it.
    """
    time: ColumnElement[datetime] = func.registry_time(type_=DateTime(timezone=True))
    return time


def present_time() -> ScalarSelect[datetime]:
    """Return the expression of one time for a whole statement, with which an index can be used."""
    return select(registry_time()).scalar_subquery()


def time_in(session: Session) -> datetime:
    """Return the registry's time, read from the database now."""
    time: datetime = session.scalars(select(registry_time())).one()
    return time


def elapsed() -> float:
    """Return a monotonic time in seconds that also advances while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """An estimate of the registry's time for reads, without a query each time; thread-safe.

    It adds this machine's monotonic clock, which nobody sets, to the last measured time of the
    database. While the database is unavailable, it continues from there. Changes do not use it:
    their transactions read the time themselves.
    """

    def __init__(self) -> None:
        self._measured: tuple[float, datetime] | None = None

    @property
    def is_measured(self) -> bool:
        return self._measured is not None

    def measure(self, sessions: Sessions) -> None:
        """Compare the two clocks; the error is at most half the duration of the query.

        A slow answer, as of a database that was suspended, replaces no earlier measurement.

        Raises:
            SQLAlchemyError: The database is unavailable.
        """
        with sessions() as session:
            begun = elapsed()
            found = time_in(session)
            ended = elapsed()
        if self._measured is None or ended - begun <= _SLOWEST_ANSWER_S:
            self._measured = (begun + ended) / 2, found

    def now(self) -> datetime:
        """Return the estimate; it has been measured."""
        at, then = expect(self._measured)
        return then + timedelta(seconds=elapsed() - at)

    def ahead(self) -> timedelta:
        """Return by how much the clock of this machine is ahead of the registry's time."""
        return datetime.now(UTC) - self.now()  # noqa: TID251 - the only place that reads the clock
