"""Engines and session factories."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import Session, sessionmaker

from app.db.commit_barrier import wait_after_commits

# A stuck query or a forgotten lock must end as an error for one caller, not as a full pool.
_SERVER_TIMEOUTS: Final = (
    "-c timezone=UTC -c statement_timeout=60000 -c lock_timeout=15000 "
    "-c idle_in_transaction_session_timeout=60000"
)
_BY_ITSELF: Final = "AUTOCOMMIT"  # each statement, in PostgreSQL's words for it

T = TypeVar("T")


def expect(value: T | None) -> T:
    """Return what must be there, such as a row that the same transaction wrote or locked."""
    if value is None:
        raise LookupError("what must be there at this point is not")
    return value


def engine_for(url: str, *, pool_size: int = 10) -> Engine:
    """Return an engine whose pool replaces connections that died while idle."""
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        hide_parameters=True,
        connect_args={"connect_timeout": 5, "options": _SERVER_TIMEOUTS},
    )

    def require_alive(connection: Any, *_: object) -> None:  # noqa: ANN401 - the driver's own
        # To ask the server each time, as `pool_pre_ping` does, is a round trip for every session.
        # One that ended says good-bye, and then something waits to be read.
        idle = select.poll()
        idle.register(connection.pgconn.socket, select.POLLIN)
        if not idle.poll(0):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    event.listen(engine, "checkout", require_alive)
    return engine


class Sessions(sessionmaker[Session]):
    """Makes sessions: `begin()` is one transaction, and what is not begun only reads.

    What only reads runs each statement by itself. It sees what is committed then, as READ COMMITTED
    has it within a transaction too, and goes without BEGIN and ROLLBACK, a round trip each.
    """

    def __init__(self, reading: Engine | None, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self.reading = reading

    def __call__(self, **options: Any) -> Session:  # noqa: ANN401 - as sessionmaker has it
        # A connection that was given is in a transaction, of a test or an exchange, and stays so.
        if isinstance(self.kw["bind"], Engine):
            options.setdefault("bind", self.reading)
        return super().__call__(**options)

    @contextmanager
    def begin(self) -> Iterator[Session]:
        with self(bind=self.kw["bind"]) as session, session.begin():
            yield session


def _require_begun(session: Session, *_: object) -> None:
    if session.get_bind().get_execution_options().get("isolation_level") == _BY_ITSELF:
        raise TypeError("what is not begun only reads; write in `with sessions.begin()`")


def sessions_on(bind: Engine | Connection) -> Sessions:
    """Return a factory; objects stay readable after commit, so a use case may return them.

    A commit that changes what processes may remember returns once they have heard of it. On a
    connection that is in a transaction already, a session's commit ends a savepoint only, so that
    a test can undo everything.
    """
    sessions = Sessions(
        bind.execution_options(isolation_level=_BY_ITSELF) if isinstance(bind, Engine) else None,
        bind=bind,
        expire_on_commit=False,
        join_transaction_mode="create_savepoint",
    )
    event.listen(sessions, "before_flush", _require_begun)
    wait_after_commits(sessions)
    return sessions


def database_of(sessions: Sessions) -> URL:
    """Return where a factory's sessions connect to, for a connection beside them."""
    bind: Engine | Connection = sessions.kw["bind"]
    return bind.engine.url
