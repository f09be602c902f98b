"""Commit barrier: after a commit that affects caches, wait until all have been invalidated."""

import logging
import time
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from app.db.worker_leases import all_confirmed, raise_barrier
from app.domain.delivery.cache_lease import LONGEST_WAIT_S

_FIRST_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.02

_log = logging.getLogger(__name__)


def wait_until_invalidated(engine: Engine) -> None:
    """Wait until every process has confirmed, or the longest lease has expired on this clock.

    If the database becomes unavailable, the change stays committed, and waiting for the longest
    lease is sufficient without it.
    """
    until = time.monotonic() + LONGEST_WAIT_S
    try:
        with engine.connect() as pooled:
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
