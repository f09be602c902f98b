"""Waiters: coroutines that wait for a channel to change, without a thread or a query each."""

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from app.domain.delivery.served_channel import ChannelKey


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """One long-polling request, in its event loop."""

    loop: asyncio.AbstractEventLoop
    woken: "asyncio.Future[None]"

    async def wait(self, timeout_s: float) -> None:
        """Return when woken, or after `timeout_s` seconds."""
        timer = self.loop.call_later(timeout_s, finish, self.woken)
        try:
            await self.woken
        finally:
            timer.cancel()


class Waiters:
    """The waiters by channel; any thread may wake them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[ChannelKey, set[Waiter]] = {}

    def add(self, key: ChannelKey) -> Waiter:
        """Return a waiter for the running event loop; the caller must remove it afterwards."""
        loop = asyncio.get_running_loop()
        waiter = Waiter(loop, loop.create_future())
        with self._lock:
            self._waiting.setdefault(key, set()).add(waiter)
        return waiter

    def remove(self, key: ChannelKey, waiter: Waiter) -> None:
        with self._lock:
            waiting = self._waiting.get(key, set())
            waiting.discard(waiter)
            if not waiting:
                self._waiting.pop(key, None)

    def wake(self, keys: Iterable[ChannelKey]) -> None:
        with self._lock:
            waiters = [waiter for key in keys for waiter in self._waiting.get(key, ())]
        for loop in {waiter.loop for waiter in waiters}:
            futures = [waiter.woken for waiter in waiters if waiter.loop is loop]
            loop.call_soon_threadsafe(_finish_all, futures)

    def wake_all(self) -> None:
        with self._lock:
            keys = list(self._waiting)
        self.wake(keys)


def _finish_all(futures: "Iterable[asyncio.Future[None]]") -> None:
    for future in futures:
        finish(future)


def finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
