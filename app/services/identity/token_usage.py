"""Recording when tokens were last used, at most every few minutes and off the request path."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from app.db.session import Sessions
from app.db.tokens import ValidToken, write_last_use
from app.domain.identity.access import any_caller
from app.services.transactions import transactions_of_server

RECORDING_INTERVAL: Final = timedelta(minutes=5)

_log = logging.getLogger(__name__)


class TokenUsage:
    """Records token uses in a background thread, once per token in five minutes.

    If the write fails, that use is lost and a later one is recorded: this information does not
    justify a refused or delayed request.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._transactions = transactions_of_server(sessions)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="token-uses")
        self._waiting: set[UUID] = set()

    def note(self, token: ValidToken, now: datetime) -> None:
        recent = token.last_used_at is not None and now - token.last_used_at < RECORDING_INTERVAL
        if recent or token.id in self._waiting:
            return
        self._waiting.add(token.id)
        self._thread.submit(self._write, token.id)

    def _write(self, token_id: UUID) -> None:
        try:
            with self._transactions.begin_unaudited("token.use", any_caller) as transaction:
                write_last_use(transaction.session, token_id, interval=RECORDING_INTERVAL)
        except SQLAlchemyError as error:
            _log.warning("the use of a token was not recorded: %s", type(error).__name__)
        finally:
            self._waiting.discard(token_id)
