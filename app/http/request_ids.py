"""The id of the request at hand, for all that is logged meanwhile."""

from contextvars import ContextVar
from logging import Filter, LogRecord
from typing import Final

CURRENT: Final[ContextVar[str]] = ContextVar("request_id", default="-")


class RequestIds(Filter):
    """Gives each record of the log the id of the request that it is about."""

    def filter(self, record: LogRecord) -> bool:
        record.request_id = CURRENT.get()
        return True
