"""The registry's own process: started, awaited, and stopped however the demo ends."""

import json
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2

from demo.client import DemoFailedError, Document, Registry, Store, expect

PROGRAM: Final = str(Path(sysconfig.get_path("scripts"), "prefix-registry"))

_POLL_S: Final = 0.05
_STOP_S: Final = 30
_LOG_LINES: Final = 15


@dataclass(frozen=True, slots=True)
class Starting:
    """A registry that was started and may not answer yet."""

    process: subprocess.Popen[bytes]
    data: Path
    log: Path
    clients: ExitStack = field(repr=False)

    @property
    def credentials(self) -> Path:
        """The file that holds a token of each first principal."""
        return self.data / "credentials.json"

    def ready(self, *, timeout_s: float) -> Registry:
        """Return a client for the registry, once it says that it can serve.

        Raises:
            DemoFailedError: It ended, or takes longer than `timeout_s` seconds.
        """
        deadline = time.monotonic() + timeout_s
        while (found := _credentials(self.credentials)) is None or not _is_ready(found["url"]):
            running = self.process.poll() is None
            expect(f"The registry ended before it was ready. {self.log_end()}", that=running)
            message = f"The registry was not ready within {timeout_s:g} s. {self.log_end()}"
            expect(message, that=time.monotonic() < deadline)
            time.sleep(_POLL_S)
        # No proxy of the environment belongs between us and our own machine.
        http = httpx2.Client(base_url=found["url"], timeout=30, trust_env=False)
        return Registry(self.clients.enter_context(http), found["tokens"], Store(**found["s3"]))

    def log_end(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join(["The end of its log:", *lines])


@contextmanager
def starting_registry(data: Path) -> Iterator[Starting]:
    """Start `prefix-registry local` on a free port, with SIGTERM at the end of the block."""
    command = [PROGRAM, "local", "--data", str(data), "--port", "0"]
    log = data.with_suffix(".log")
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        # A group of its own: Ctrl-C is for the demo, which then stops the registry in order.
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdout=output, stderr=subprocess.STDOUT, process_group=0
        )
        stack.callback(_stop, process)
        starting = Starting(process, data, log, stack)
        try:
            yield starting
        except httpx2.TransportError as error:
            # The log is removed with the folder, and its last lines explain the failure.
            where = error.request.url.copy_with(query=None)  # a query may carry a signature
            raise DemoFailedError(f"{where} failed: {error}. {starting.log_end()}") from error
    code = process.returncode
    expect(f"The registry ended with status {code} on the signal to stop.", that=code == 0)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _credentials(file: Path) -> Document | None:
    if not file.exists():
        return None
    document: Document = json.loads(file.read_text())
    return document


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=5, trust_env=False).is_success
    except httpx2.TransportError:
        return False
