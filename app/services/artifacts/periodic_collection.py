"""Garbage collection by the servers themselves: by one of them at a time, at an interval."""

import logging
from datetime import timedelta
from typing import Final

from app.db.audit import first_at, latest_at
from app.db.clock import time_in
from app.db.session import Sessions, held_alone
from app.services.artifacts.garbage_collection import COLLECT, GRACE, Collected, collect
from app.storage.blobs import Blobs
from app.storage.staging import Staging

# Distinguishes this lock from others in the database: the letters of "collect".
LOCK: Final = 0x636F6C6C656374

_FEW: Final = 100
_LARGEST_SHARE: Final = 0.5

_log = logging.getLogger(__name__)


def collect_if_due(
    sessions: Sessions, blobs: Blobs, staging: Staging, *, interval: timedelta
) -> Collected | None:
    """Collect unless another process does, or has within the interval; None if it did not.

    The audit log says when the latest collection ended, so restarts delay none. A collection that
    would remove most objects is left to an operator: the database may be that of another bucket,
    or an old copy.

    Raises:
        UnavailableError: The store does not respond; the next call goes on.
    """
    if not _is_due(sessions, interval):
        return None
    with held_alone(sessions, LOCK) as is_alone:
        if not (is_alone and _is_due(sessions, interval)):
            return None
        found = collect(sessions, blobs, staging, grace=GRACE, dry_run=True)
        if found.objects > _FEW and found.objects > found.stored * _LARGEST_SHARE:
            _log.error(
                "%d of %d stored objects are unreferenced, so none was removed; is this the right "
                "bucket? If so, run `prefix-registry collect --delete`.",
                found.objects,
                found.stored,
            )
            return None
        return collect(sessions, blobs, staging, grace=GRACE, dry_run=False)


def _is_due(sessions: Sessions, interval: timedelta) -> bool:
    """Whether the latest collection, or without one the first entry, was an interval ago."""
    with sessions() as session:
        since = latest_at(session, COLLECT) or first_at(session)
        return since is not None and since + interval <= time_in(session)
