"""The two steps in which a signal stops a server: first unready, then closed."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class Shutdown:
    """Whether the server is stopping, and how long it still accepts requests when it is.

    Load balancers take that time to notice that the server is not ready, and would otherwise send
    requests to a closed port.
    """

    unready_s: float = 0
    begun: bool = False


@contextmanager
def prepared_for_signals(shutdown: Shutdown, *, before_end: Callable[[], None]) -> Iterator[None]:
    """Delay SIGINT and SIGTERM: the server is unready first; a second signal ends the delay.

    `before_end` runs in the event loop, immediately before the server's own handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals; tests serve from other threads
        return
    loop = asyncio.get_running_loop()
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int) -> None:
        before_end()
        handler = previous[signal.Signals(number)]
        if callable(handler):
            handler(number, None)

    def receive(number: int, _frame: FrameType | None) -> None:
        delay_s = 0 if shutdown.begun else shutdown.unready_s
        shutdown.begun = True
        loop.call_soon_threadsafe(loop.call_later, delay_s, end, number)

    for number in previous:
        signal.signal(number, receive)
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)
