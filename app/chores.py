"""What a server does by itself beside answering: settling promotions, writing pulls down."""

import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from app.deps import Parts, clock
from app.services.settlement import settle

_EVERY_S: Final = 2.0
_log = logging.getLogger(__name__)


class Chores:
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
            self._try(lambda: settle(self._parts.sessions, now=clock()))

    def _try(self, chore: Callable[[], object]) -> None:
        """Do a chore; a database that is away is met again in the next round."""
        try:
            chore()
        except SQLAlchemyError as error:
            _log.warning("a chore has to wait: %s", type(error).__name__)


@asynccontextmanager
async def doing_chores(app: FastAPI) -> AsyncIterator[None]:
    """Do the chores of `app` while it serves."""
    chores = Chores(app.state.parts)
    chores.start()
    yield
    chores.stop()
