"""The id of the current request, for log records."""

from contextvars import ContextVar
from logging import Filter, LogRecord
from typing import Final

CURRENT: Final[ContextVar[str]] = ContextVar("request_id", default="-")


class RequestIds(Filter):
    """Adds the id of the current request to each log record."""

    def filter(self, record: LogRecord) -> bool:
        record.request_id = CURRENT.get()
        return True
