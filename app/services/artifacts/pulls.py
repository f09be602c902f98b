"""Recording who pulled what, without a write for each pull."""

import threading
from datetime import datetime
from uuid import UUID

from app.db.models import Pull
from app.db.paging import Page, PageRequest
from app.db.pulls import add_pulls, pulls_page
from app.db.session import Sessions
from app.domain.artifacts.pulls import PullKey, PullWay, Tally
from app.domain.identity.access import Caller, Role
from app.domain.naming import PrefixName
from app.services.identity.visibility import visible_version


class PullLog:
    """Counts pulls in memory until they are flushed; any thread may note one.

    A server that is killed loses what it noted since its last flush, some seconds' worth.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: dict[PullKey, Tally] = {}

    def note(self, version_id: UUID, caller: Caller, way: PullWay, now: datetime) -> None:
        self._add({PullKey(version_id, caller.id, way): Tally(1, now, now)})

    def counted(self) -> dict[PullKey, Tally]:
        """Return what is not written yet."""
        with self._lock:
            return dict(self._counted)

    def flush(self, sessions: Sessions) -> None:
        """Write what was counted; if that fails, it is still counted."""
        with self._lock:
            counted, self._counted = self._counted, {}
        if not counted:
            return
        try:
            with sessions.begin() as session:
                add_pulls(session, counted)
        except BaseException:
            self._add(counted)
            raise

    def _add(self, counted: dict[PullKey, Tally]) -> None:
        with self._lock:
            for key, tally in counted.items():
                known = self._counted.get(key)
                self._counted[key] = tally if known is None else known.and_also(tally)


def list_pulls(
    sessions: Sessions,
    log: PullLog,
    *,
    prefix: PrefixName,
    number: int,
    request: PageRequest,
    caller: Caller,
) -> Page[Pull]:
    """Return who pulled a version; this server's own counts are in it to the last pull.

    Raises:
        NotFoundError: There is no such version for this caller.
        ForbiddenError: The caller is no approver here, who would recall it.
    """
    caller.require(Role.APPROVER, prefix)
    log.flush(sessions)
    with sessions() as session:
        version = visible_version(session, caller, prefix, number)
        return pulls_page(session, version, request)
