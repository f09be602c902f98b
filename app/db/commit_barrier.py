"""Commit barrier: after a commit that affects caches, wait until all have been invalidated."""

import logging
import time
from typing import Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

from app.db.worker_leases import all_confirmed, raise_barrier
from app.domain.delivery.cache_lease import LONGEST_WAIT_S

_CHANGED: Final = "changed cached objects"
_COMMITTED: Final = "committed a change of cached objects"
_FIRST_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.02

_log = logging.getLogger(__name__)


def require_invalidation(session: Session) -> None:
    """Make the commit of the session's transaction wait until every cache is invalidated."""
    session.info[_CHANGED] = True


def wait_after_commits(sessions: "sessionmaker[Session]") -> None:
    """Make a factory's sessions wait after the commits that `require_invalidation` marked."""
    event.listen(sessions, "after_commit", _note_commit)
    event.listen(sessions, "after_transaction_end", _end)


def _note_commit(session: Session) -> None:
    if session.info.pop(_CHANGED, False):
        session.info[_COMMITTED] = True


def _end(session: Session, transaction: SessionTransaction) -> None:
    """Wait after the transaction's connection has returned to its pool, so as to hold only one."""
    if transaction.parent is not None:
        return
    session.info.pop(_CHANGED, None)
    if not session.info.pop(_COMMITTED, False) or session.bind is None:
        return
    if isinstance(session.bind, Connection) and session.bind.in_transaction():
        # Only a savepoint ended. The owner of the transaction commits it and waits then.
        session.bind.info[_COMMITTED] = True
    else:
        wait_until_invalidated(session.bind)


def pop_invalidation_flag(connection: Connection) -> bool:
    """Return whether sessions on a connection made a change to wait for, and clear the flag.

    A lost connection made none: its transaction was rolled back.
    """
    return not connection.invalidated and bool(connection.info.pop(_COMMITTED, False))


def wait_until_invalidated(bind: Engine | Connection) -> None:
    """Wait until every process has confirmed, or the longest lease has expired on this clock.

    If the database becomes unavailable, the change stays committed, and waiting for the longest
    lease is sufficient without it.
    """
    until = time.monotonic() + LONGEST_WAIT_S
    try:
        with bind.engine.connect() as pooled:
            connection = pooled.execution_options(isolation_level="AUTOCOMMIT")
            barrier = raise_barrier(connection)
            if barrier is None or _are_confirmed(connection, barrier, until):
                return
        _log.warning("a process did not confirm an invalidation before its lease expired")
    except SQLAlchemyError as error:
        _log.warning("waiting for cache leases to expire: %s", type(error).__name__)
        time.sleep(max(0.0, until - time.monotonic()))


def _are_confirmed(connection: Connection, barrier: int, until: float) -> bool:
    pause = _FIRST_PAUSE_S
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        if all_confirmed(connection, barrier):
            return True
        pause = min(2 * pause, _LONGEST_PAUSE_S)
    return False
