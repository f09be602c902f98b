"""Background tasks of a server: cache invalidation, due promotions and the log of pulls."""

import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from app.db.session import database_of
from app.http.deps import Parts
from app.http.limits import STATE_KEY
from app.http.shutdown import prepared_for_signals
from app.services.delivery.cache_invalidation import Listener
from app.services.governance.due_promotions import process_due

_INTERVAL_S: Final = 2.0
_log = logging.getLogger(__name__)


class BackgroundTasks:
    """A thread that runs the periodic tasks every two seconds until it is stopped."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its current task, and store the last pulls."""
        self._stopped.set()
        self._thread.join(timeout=10)
        self._try(lambda: self._parts.pulls.flush(self._parts.sessions))

    def _run(self) -> None:
        while not self._stopped.wait(_INTERVAL_S):
            self._try(lambda: self._parts.pulls.flush(self._parts.sessions))
            self._try(lambda: self._parts.clock.measure(self._parts.sessions))
            self._try(lambda: process_due(self._parts.sessions))

    def _try(self, task: Callable[[], object]) -> None:
        """Run one task. If the database is unavailable, log it and retry in the next round."""
        try:
            task()
        except SQLAlchemyError as error:
            _log.warning("a background task failed and will be retried: %s", type(error).__name__)
        except Exception:  # noqa: BLE001 - logged with its traceback
            # Without this thread, no promotion would execute or expire any more.
            _log.exception("a background task failed and will be retried")


@asynccontextmanager
async def running_background_tasks(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Run the background tasks of `app` while it serves; yield its limits to the server."""
    parts: Parts = app.state.parts
    tasks = BackgroundTasks(parts)
    listener = Listener(database_of(parts.sessions), parts.cache.channel_cache)
    tasks.start()
    listener.start()
    # Closing the cache releases all waiters. The end of the lifespan would be too late: the server
    # lets all requests finish before it.
    with prepared_for_signals(parts.shutdown, before_end=parts.cache.close):
        yield {STATE_KEY: parts.connections}
    listener.stop()
    tasks.stop()
