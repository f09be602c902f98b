"""What a server does beside answering: hearing of changes, settling promotions, noting pulls."""

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Final

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from app.db.session import database_of
from app.http.deps import Parts, clock
from app.services.delivery.cache_invalidation import Listener
from app.services.delivery.cache_loader import ReadThroughCache
from app.services.governance.due_promotions import process_due

_EVERY_S: Final = 2.0
_log = logging.getLogger(__name__)


class BackgroundTasks:
    """A thread that does the chores every other second until it is stopped."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chores", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after what it is doing, and write down the last pulls."""
        self._stopped.set()
        self._thread.join(timeout=10)
        self._try(lambda: self._parts.pulls.flush(self._parts.sessions))

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY_S):
            self._try(lambda: self._parts.pulls.flush(self._parts.sessions))
            self._try(lambda: process_due(self._parts.sessions, now=clock()))

    def _try(self, chore: Callable[[], object]) -> None:
        """Do a chore; a database that is away is met again in the next round."""
        try:
            chore()
        except SQLAlchemyError as error:
            _log.warning("a chore has to wait: %s", type(error).__name__)


@asynccontextmanager
async def running_background_tasks(app: FastAPI) -> AsyncIterator[None]:
    """Do the chores of `app` while it serves."""
    parts: Parts = app.state.parts
    chores = BackgroundTasks(parts)
    listener = Listener(database_of(parts.sessions), parts.cache.channel_cache)
    chores.start()
    listener.start()
    with _closed_by_signals(parts.cache):
        yield
    listener.stop()
    chores.stop()


@contextmanager
def _closed_by_signals(cache: ReadThroughCache) -> Iterator[None]:
    """Let nobody wait for a change once this process is told to end.

    The server first lets all requests end, and only then ends the lifespan: too late.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # a thread of somebody else's process, which no signal reaches
        return
    loop = asyncio.get_running_loop()
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def close(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(cache.close)
        handler = former[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in former:
        signal.signal(number, close)
    yield
    for number, handler in former.items():
        signal.signal(number, handler)
