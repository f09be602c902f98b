"""Garbage collection by the servers themselves: by one of them at a time, at an interval."""

from datetime import timedelta
from typing import Final

from app.db.audit import latest_at
from app.db.clock import time_in
from app.db.session import Sessions, held_alone
from app.services.artifacts.garbage_collection import COLLECT, GRACE, Collected, collect
from app.storage.blobs import Blobs
from app.storage.staging import Staging

# Distinguishes this lock from others in the database: the letters of "collect".
LOCK: Final = 0x636F6C6C656374


def collect_if_due(
    sessions: Sessions, blobs: Blobs, staging: Staging, *, interval: timedelta
) -> Collected | None:
    """Collect unless another process does, or has within the interval; None if it did not.

    The audit log says when the latest collection ended, so restarts delay none.

    Raises:
        UnavailableError: The store does not respond; the next call goes on.
    """
    if not _is_due(sessions, interval):
        return None
    with held_alone(sessions, LOCK) as is_alone:
        if not (is_alone and _is_due(sessions, interval)):
            return None
        return collect(sessions, blobs, staging, grace=GRACE, dry_run=False)


def _is_due(sessions: Sessions, interval: timedelta) -> bool:
    with sessions() as session:
        latest = latest_at(session, COLLECT)
        return latest is None or latest + interval <= time_in(session)
