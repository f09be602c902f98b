"""Turns: the changes of one subject wait for each other in line, and only so many of them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from app.domain.errors import UnavailableError

MOST_IN_LINE: Final = 16
LONGEST_WAIT_S: Final = 10.0


@dataclass(slots=True)
class _Line:
    turn: threading.Lock = field(default_factory=threading.Lock)
    length: int = 0


class Turns:
    """The lines before the subjects that this process changes; thread-safe.

    The lock on a subject's chain lets only one change proceed. Waiting for it in the database would
    hold a connection each, and waiting without bound a thread each, until a busy prefix leaves
    none for the requests of others.
    """

    def __init__(self, *, most: int = MOST_IN_LINE, longest_s: float = LONGEST_WAIT_S) -> None:
        self._most = most
        self._longest_s = longest_s
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}

    @contextmanager
    def turn(self, subject: str) -> Iterator[None]:
        """Wait for the turn of this change, which lasts until the context ends.

        Raises:
            UnavailableError: Too many changes of the subject wait, or they take too long.
        """
        with self._in_line(subject) as line:
            if not line.turn.acquire(timeout=self._longest_s):
                raise UnavailableError(f"Changes of {subject} take too long; try again shortly.")
            try:
                yield
            finally:
                line.turn.release()

    @contextmanager
    def _in_line(self, subject: str) -> Iterator[_Line]:
        with self._lock:
            line = self._lines.setdefault(subject, _Line())
            if line.length >= self._most:
                message = f"{line.length} changes of {subject} are under way; try again shortly."
                raise UnavailableError(message)
            line.length += 1
        try:
            yield line
        finally:
            with self._lock:
                line.length -= 1
                if line.length == 0:
                    del self._lines[subject]
