"""After a commit that changes what processes may remember: wait until all have heard of it."""

import logging
import time
from typing import Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

from app.db.worker_leases import all_confirmed, raise_barrier
from app.domain.delivery.cache_lease import LONGEST_WAIT_S

_CHANGED: Final = "changed what processes may remember"
_COMMITTED: Final = "committed such a change"
_FIRST_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.02

_log = logging.getLogger(__name__)


def require_invalidation(session: Session) -> None:
    """Let the commit of the session's transaction return only once every process knows."""
    session.info[_CHANGED] = True


def wait_after_commits(sessions: "sessionmaker[Session]") -> None:
    """Make the sessions of a factory wait after what `require_invalidation` marked."""
    event.listen(sessions, "after_commit", _note_commit)
    event.listen(sessions, "after_transaction_end", _end)


def _note_commit(session: Session) -> None:
    if session.info.pop(_CHANGED, False):
        session.info[_COMMITTED] = True


def _end(session: Session, transaction: SessionTransaction) -> None:
    """Wait when the transaction's own connection is back in its pool, so as to hold one only."""
    if transaction.parent is not None:
        return
    session.info.pop(_CHANGED, None)
    if not session.info.pop(_COMMITTED, False) or session.bind is None:
        return
    if isinstance(session.bind, Connection) and session.bind.in_transaction():
        # Only a savepoint ended. Whoever holds the transaction commits it, and waits then.
        session.bind.info[_COMMITTED] = True
    else:
        wait_until_invalidated(session.bind)


def pop_invalidation_flag(connection: Connection) -> bool:
    """Return, once, whether sessions on a connection made a change that has to be waited for.

    A connection that has died made none: its transaction is lost with all that was done in it.
    """
    return not connection.invalidated and bool(connection.info.pop(_COMMITTED, False))


def wait_until_invalidated(bind: Engine | Connection) -> None:
    """Wait until all have confirmed, or their leases have run out by this process's own clock.

    Nothing is undone if the database goes away meanwhile: the change is made, and the longest
    wait is good without it.
    """
    until = time.monotonic() + LONGEST_WAIT_S
    try:
        with bind.engine.connect() as pooled:
            connection = pooled.execution_options(isolation_level="AUTOCOMMIT")
            barrier = raise_barrier(connection)
            if barrier is None or _are_confirmed(connection, barrier, until):
                return
        _log.warning("a process did not confirm a change; its lease has run out")
    except SQLAlchemyError as error:
        _log.warning("waiting out the leases: %s", type(error).__name__)
        time.sleep(max(0.0, until - time.monotonic()))


def _are_confirmed(connection: Connection, barrier: int, until: float) -> bool:
    pause = _FIRST_PAUSE_S
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        if all_confirmed(connection, barrier):
            return True
        pause = min(2 * pause, _LONGEST_PAUSE_S)
    return False
