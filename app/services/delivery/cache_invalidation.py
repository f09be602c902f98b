"""A thread that hears of changes, makes memory forget, and says so to whoever waits for it."""

import logging
import threading
from typing import Final
from uuid import UUID, uuid4

from psycopg import Error as DriverError
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from app.db.worker_leases import BARRIER, Ear, Heard, ear
from app.domain.delivery.cache_lease import PROOF_EVERY_S
from app.services.delivery.cache import Memory, elapsed

_AGAIN_AFTER_S: Final = 1.0
_log = logging.getLogger(__name__)


class Listener:
    """Keeps the lease of a memory while its connection lives; connects again when it dies."""

    def __init__(self, url: URL, memory: Memory, proof_every_s: float = PROOF_EVERY_S) -> None:
        self._url = url
        self._memory = memory
        self._proof_every_s = proof_every_s
        self._worker = uuid4()
        self._stopped = threading.Event()
        self._ear: Ear | None = None
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._ear is not None:
            self._ear.wake()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with ear(self._url, self._worker) as self._ear:
                    hearing = Hearing(self._ear, self._memory, self._proof_every_s)
                    hearing.until(self._stopped)
            except (SQLAlchemyError, DriverError, OSError) as error:
                _log.warning("answers come from the database now: %s", type(error).__name__)
            finally:
                self._memory.end()
            self._stopped.wait(_AGAIN_AFTER_S)


class Hearing:
    """One connection's life: proofs in time, and every notification in its order."""

    def __init__(self, heard: Ear, memory: Memory, proof_every_s: float = PROOF_EVERY_S) -> None:
        self._ear = heard
        self._memory = memory
        self._proof_every_s = proof_every_s
        self._came_back = True

    def until(self, stopped: threading.Event) -> None:
        """Listen until `stopped`, or until others no longer wait for this process."""
        # What was read before we listened may have changed unheard since.
        self._memory.forget_everything()
        while not stopped.is_set():
            begun = elapsed()
            if not self._prove(begun):
                _log.warning("this process was taken for dead; it begins anew")
                return
            until = begun + self._proof_every_s
            while not stopped.is_set() and (left := until - elapsed()) > 0:
                self.take(self._ear.listen(left))
        self._memory.end()
        self._ear.leave()

    def _prove(self, begun: float) -> bool:
        if not self._came_back:
            _log.warning("no notification came back in time; is there a pooler in between?")
        self._came_back = False
        return self._ear.prove(begun)

    def take(self, heard: list[Heard]) -> None:
        """Forget first; then confirm, and count the proof that came behind the changes."""
        barrier = 0
        for each in heard:
            if each.kind == BARRIER:
                barrier = max(barrier, int(each.about))
            elif each.kind == "proof":
                # However late it comes: what was committed before it was sent came before it.
                self._came_back = True
                self._memory.renew(float(each.about))
            else:
                forget(self._memory, each)
        if barrier:
            self._ear.confirm(barrier)


def forget(memory: Memory, heard: Heard) -> None:
    """Forget what an announced change may concern: everything, if that is not known."""
    try:
        about = UUID(heard.about)
    except ValueError:
        memory.forget_everything()
        return
    if heard.kind == "principal":
        memory.forget_tokens(lambda token: token.caller.id == about)
    elif heard.kind == "prefix":
        memory.forget_channels(lambda channel: channel.prefix_id == about)
    elif heard.kind == "version":
        memory.forget_channels(lambda channel: channel.serves(about))
    else:
        memory.forget_everything()
