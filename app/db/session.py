"""Engines and session factories."""

from typing import Final, TypeAlias, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

from app.db.waiting import wait_after_commits

Sessions: TypeAlias = sessionmaker[Session]

# A stuck query or a forgotten lock must end as an error for one caller, not as a full pool.
_SERVER_TIMEOUTS: Final = (
    "-c timezone=UTC -c statement_timeout=60000 -c lock_timeout=15000 "
    "-c idle_in_transaction_session_timeout=60000"
)


T = TypeVar("T")


def present(value: T | None) -> T:
    """Return what must be there, such as a row that the same transaction wrote or locked."""
    if value is None:
        raise LookupError("what must be there at this point is not")
    return value


def engine_for(url: str, *, pool_size: int = 10) -> Engine:
    """Return an engine whose pool replaces connections that died while idle."""
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 5, "options": _SERVER_TIMEOUTS},
    )


def sessions_on(bind: Engine | Connection) -> Sessions:
    """Return a factory; objects stay readable after commit, so a use case may return them.

    A commit that changes what processes may remember returns once they have heard of it. On a
    connection that is in a transaction already, a session's commit ends a savepoint only, so that
    a test can undo everything.
    """
    sessions = sessionmaker(bind, expire_on_commit=False, join_transaction_mode="create_savepoint")
    wait_after_commits(sessions)
    return sessions


def database_of(sessions: Sessions) -> URL:
    """Return where a factory's sessions connect to, for a connection beside them."""
    bind: Engine | Connection = sessions.kw["bind"]
    return bind.engine.url
