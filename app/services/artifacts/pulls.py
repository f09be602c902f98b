"""Recording which principal pulled which version, without a write for each pull."""

import threading
from datetime import datetime
from uuid import UUID

from app.db.models import Pull
from app.db.paging import Page, PageRequest
from app.db.session import Sessions
from app.db.versions import add_pulls, pulls_page
from app.domain.artifacts.pulls import PullKey, PullWay, Tally
from app.domain.identity.access import Caller, Role, any_caller
from app.domain.naming import PrefixName
from app.services.identity.visibility import visible_version
from app.services.transactions import transactions_of_server


class PullLog:
    """Counts pulls in memory until they are flushed; thread-safe.

    A server that is killed loses the pulls since its last flush, a few seconds' worth.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: dict[PullKey, Tally] = {}

    def note(self, version_id: UUID, caller: Caller, way: PullWay, now: datetime) -> None:
        self._add({PullKey(version_id, caller.id, way): Tally(1, now, now)})

    def counted(self) -> dict[PullKey, Tally]:
        """Return the counts that are not yet written."""
        with self._lock:
            return dict(self._counted)

    def flush(self, sessions: Sessions) -> None:
        """Write the counts to the database; if that fails, keep them for the next flush."""
        with self._lock:
            counted, self._counted = self._counted, {}
        if not counted:
            return
        try:
            transactions = transactions_of_server(sessions)
            with transactions.begin_unaudited("pull.count", any_caller) as transaction:
                add_pulls(transaction.session, counted)
        except BaseException:
            self._add(counted)
            raise

    def _add(self, counted: dict[PullKey, Tally]) -> None:
        with self._lock:
            for key, tally in counted.items():
                known = self._counted.get(key)
                self._counted[key] = tally if known is None else known.merged_with(tally)


def list_pulls(
    sessions: Sessions,
    log: PullLog,
    *,
    prefix: PrefixName,
    number: int,
    request: PageRequest,
    caller: Caller,
) -> Page[Pull]:
    """Return the principals that pulled a version, including this server's unflushed counts.

    Only approvers may read them, since it is approvers who revoke a version.

    Raises:
        NotFoundError: The version does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not an approver of this prefix.
    """
    caller.require(Role.APPROVER, prefix)
    log.flush(sessions)
    with sessions() as session:
        version = visible_version(session, caller, prefix, number)
        return pulls_page(session, version, request)
