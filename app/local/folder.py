"""The folder of one local server, locked by one start at a time, with its secrets and its log."""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.domain.errors import OperatorError

_POLL_S = 0.05


class LocalServerError(OperatorError):
    """A server of local mode cannot run; the message gives the reason and a remedy."""


@dataclass(frozen=True, slots=True)
class ServerFolder:
    """A locked folder. `lock` is the file descriptor that every process in it inherits."""

    path: Path
    lock: int

    @property
    def log(self) -> Path:
        return self.path / "server.log"

    def stored_secrets(self, *names: str) -> tuple[str, ...]:
        """Return one random secret per name, generated at the first start and stored."""
        file = self.path / "secrets.json"
        if not file.exists():
            generated = {name: secrets.token_hex(24) for name in names}
            write_private(file, json.dumps(generated))
        stored = json.loads(file.read_text())
        return tuple(stored[name] for name in names)


@contextmanager
def locked_folder(path: Path, *, wait_s: float = 3.0) -> Iterator[ServerFolder]:
    """Create the folder if it does not exist, and lock it exclusively.

    The lock is never released explicitly. The server's processes inherit it, so it lasts until the
    last of them has ended, even if some are killed. Holding the lock therefore proves that no
    earlier server is still running in the folder.

    Args:
        path: A folder for this server only.
        wait_s: How long to wait for the servers of a killed start to end.

    Raises:
        LocalServerError: Another start has locked the folder, or we may not write to it.
    """
    path = path.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LocalServerError(
            f"The folder {path} cannot be used ({error.strerror}); choose a folder that you own."
        ) from error
    try:
        _acquire(lock, path, wait_s)
        folder = ServerFolder(path, lock)
        if folder.log.exists():
            folder.log.replace(path / "server.previous.log")
        yield folder
    finally:
        os.close(lock)


def write_private(file: Path, text: str) -> None:
    """Atomically write a file that only our own user may read."""
    draft = file.with_name(file.name + ".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


def _acquire(lock: int, path: Path, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while not _try_lock(lock):
        if time.monotonic() > deadline:
            raise LocalServerError(
                f"The folder {path} is in use by another start;"
                " stop that one or choose another folder."
            )
        time.sleep(_POLL_S)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
