"""When tokens were last used: written down seldom, and never while a request waits."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from app.db.session import Sessions
from app.db.tokens import ValidToken, write_last_use

RECORDING_INTERVAL: Final = timedelta(minutes=5)

_log = logging.getLogger(__name__)


class TokenUsage:
    """Notes uses of tokens; a thread of its own writes them, one per token and five minutes.

    A use that the database does not take is lost, and the next one is noted instead: knowing
    when a token was used is worth no refusal and no wait.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="token-uses")
        self._waiting: set[UUID] = set()

    def note(self, token: ValidToken, now: datetime) -> None:
        recent = token.last_used_at is not None and now - token.last_used_at < RECORDING_INTERVAL
        if recent or token.id in self._waiting:
            return
        self._waiting.add(token.id)
        self._thread.submit(self._write, token.id, now)

    def _write(self, token_id: UUID, now: datetime) -> None:
        try:
            with self._sessions.begin() as session:
                write_last_use(session, token_id, now, apart=RECORDING_INTERVAL)
        except SQLAlchemyError as error:
            _log.warning("a token's use was not written down: %s", type(error).__name__)
        finally:
            self._waiting.discard(token_id)
