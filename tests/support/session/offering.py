"""Offers one pair of stores to all processes of a test run, from the first of them.

The environment holds the address, for processes that are started or forked later. The servers
start when the first process asks, and stop with the process that offers them. A program that forks
test runs, such as one that tries changes of the code, offers the stores itself and asks first.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.local.mode import Stores

ADDRESS = "PREFIX_REGISTRY_TEST_STORES"
ASK, END = "ask", "end"


def is_offered() -> bool:
    return ADDRESS in os.environ


@contextmanager
def offered_stores() -> Iterator[None]:
    """Offer one pair of stores to every process that is started in this block."""
    with enterable_folder() as folder:
        offer = _Offer(folder)
        thread = threading.Thread(target=offer.serve, name="stores", daemon=True)
        thread.start()
        os.environ[ADDRESS] = offer.address
        try:
            yield
        finally:
            del os.environ[ADDRESS]
            with Client(offer.address) as connection:
                connection.send(END)
            thread.join()


@contextmanager
def enterable_folder() -> Iterator[Path]:
    """Make a folder that the unprivileged database user can enter, unlike pytest's folders."""
    folder = Path(tempfile.mkdtemp(prefix="prefix-registry-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class _Offer:
    """Answers one process at a time.

    The first process prepares the template database and reports its tokens, so that the process
    that offers the stores need not import the application. The other processes wait.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = str(folder / "offer")
        self.listener = Listener(self.address, "AF_UNIX", backlog=64)
        self.stores: Stores | None = None
        self.template = None

    def serve(self) -> None:
        with self.listener, ExitStack() as servers:
            while True:
                # A process may be killed while it asks; the next one is still answered.
                with self.listener.accept() as connection, suppress(EOFError, OSError):
                    if connection.recv() == END:
                        return
                    self._answer(connection, servers)

    def _answer(self, connection: Connection, servers: ExitStack) -> None:
        try:
            self.stores = self.stores or self._started(servers)
        except Exception as error:  # noqa: BLE001 - the test that needs the stores raises it
            connection.send(error)
            return
        connection.send((self.stores, self.folder, self.template))
        if self.template is None:
            self.template = connection.recv()

    def _started(self, servers: ExitStack) -> "Stores":
        from app.local.mode import running_stores  # noqa: PLC0415 - it takes a second

        return servers.enter_context(running_stores(self.folder))
