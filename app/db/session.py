"""Engines and session factories."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import Session, sessionmaker

from app.db.worker_leases import wait_until_invalidated

# A stuck query or an abandoned lock must end as an error for one caller, not exhaust the pool.
_SERVER_TIMEOUTS: Final = (
    "-c timezone=UTC -c statement_timeout=60000 -c lock_timeout=15000 "
    "-c idle_in_transaction_session_timeout=60000"
)
_AUTOCOMMIT: Final = "AUTOCOMMIT"

T = TypeVar("T")


def expect(value: T | None) -> T:
    """Return a value that must exist, such as a row that the same transaction wrote or locked.

    Raises:
        LookupError: The value is None.
    """
    if value is None:
        raise LookupError("a value that must exist at this point is missing")
    return value


def engine_for(url: str | URL, *, pool_size: int = 10) -> Engine:
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
        # `pool_pre_ping` would cost a round trip for every session. A server that closes a
        # connection sends a message first, so only a readable socket needs a ping.
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
    """A session factory for reads; only `app.services.transactions` calls `begin()`.

    A reading session runs in autocommit, which saves the round trips of BEGIN and ROLLBACK. Each of
    its statements sees the rows committed by then, as under READ COMMITTED in a transaction.
    """

    def __init__(self, reading: Engine | None, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self.reading = reading

    def __call__(self, **options: Any) -> Session:  # noqa: ANN401 - as sessionmaker has it
        # A given connection stays in its transaction, which a test or an idempotent request owns.
        if isinstance(self.kw["bind"], Engine):
            options.setdefault("bind", self.reading)
        return super().__call__(**options)

    def copy(self) -> "Sessions":
        """Return sessions with the same options, which may be bound to another connection."""
        made = Sessions(self.reading, **self.kw)
        made.class_ = self.class_  # keeps the event listeners of the session class
        return made

    @contextmanager
    def begin(self) -> Iterator[Session]:
        with self(bind=self.kw["bind"]) as session, session.begin():
            yield session

    def wait_until_invalidated(self) -> None:
        """Wait until every process has invalidated its cache, unless nothing is committed yet."""
        if isinstance(self.kw["bind"], Engine):
            wait_until_invalidated(self.kw["bind"])


def _require_begun(session: Session, *_: object) -> None:
    if session.get_bind().get_execution_options().get("isolation_level") == _AUTOCOMMIT:
        raise TypeError("a plain session only reads; write within `with transactions.begin(…)`")


def sessions_on(bind: Engine | Connection) -> Sessions:
    """Return a session factory; objects stay readable after commit, so use cases may return them.

    On a connection that is already in a transaction, a session's commit only ends a savepoint, so
    that an idempotent request or a test owns the transaction.
    """
    sessions = Sessions(
        bind.execution_options(isolation_level=_AUTOCOMMIT) if isinstance(bind, Engine) else None,
        bind=bind,
        expire_on_commit=False,
        join_transaction_mode="create_savepoint",
    )
    event.listen(sessions, "before_flush", _require_begun)
    return sessions


@contextmanager
def held_alone(sessions: Sessions, lock: int) -> Iterator[bool]:
    """Yield whether this process alone holds a lock of the database, until the block ends.

    The lock has a connection of its own beside the pool, and ends with it if the process is killed.
    """
    engine: Engine = sessions.kw["bind"]
    with engine.execution_options(isolation_level=_AUTOCOMMIT).connect() as connection:
        connection.detach()
        yield bool(connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": lock}))


def database_of(sessions: Sessions) -> URL:
    """Return the URL of the database that a factory's sessions connect to."""
    bind: Engine | Connection = sessions.kw["bind"]
    return bind.engine.url
