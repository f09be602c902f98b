"""A registry of real processes, of which each part can be killed, frozen or made to fail."""

import os
import random
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from app.local.mode import Stores, prepare
from app.local.postgres import running_postgres
from app.local.s3 import running_s3
from tests.support import store_proxy as faults
from tests.support.observing import ROOT, eventually, living
from tests.support.servers import probe_bucket
from tests.support.session.served import readiness
from tests.support.store_proxy import running_proxy

# Few, so that leaked connections exhaust the pool soon.
POOL_SIZE = 3
PATIENCE_S = 60
BLOBS = "/blobs/"


class Registry:
    """PostgreSQL, S3 and the API with two workers, with a fixed folder and fixed ports.

    Durability is not relaxed: PostgreSQL flushes every commit to disk.
    """

    def __init__(self, folder):
        self.folder = folder
        ports = stable_ports()
        self.url = f"http://127.0.0.1:{next(ports)}"
        self.ports = {"postgres": next(ports), "s3": next(ports)}
        self.running = {}
        self.api = None
        self.proxy = None
        self.stores = None
        self.tokens = None

    def start(self):
        with ThreadPoolExecutor(2) as threads:
            self.stores = Stores(*threads.map(self._start, ("postgres", "s3")))
        self.tokens = prepare(self.stores, {})
        proxy = self.running["proxy"] = ExitStack()
        self.proxy = proxy.enter_context(running_proxy(self.stores.s3.endpoint_url))
        self._start_api()
        self.await_readiness()

    def _start(self, part):
        """Start PostgreSQL or S3 on its existing folder."""
        folder, port = self.folder / part, self.ports[part]
        stack = self.running[part] = ExitStack()
        if part == "postgres":
            return stack.enter_context(running_postgres(folder, port=port))
        return stack.enter_context(running_s3(folder, probe=probe_bucket, port=port))

    def _start_api(self):
        port = self.url.rpartition(":")[2]
        command = [sys.executable, "-m", "app.cli", "serve", "--port", port, "--workers", "2"]
        settings = self.stores.environment | {
            "REGISTRY_DATABASE_POOL_SIZE": str(POOL_SIZE),
            "REGISTRY_S3_ENDPOINT_URL": self.proxy.url,
        }
        with (self.folder / "api.log").open("ab") as log:
            self.api = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | settings | {"TMPDIR": str(self.folder)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def await_readiness(self):
        eventually(lambda: readiness(self.url) == 200, within_s=PATIENCE_S)

    def harm(self, victim):
        """Kill, freeze or mislead a victim of `VICTIMS`; return the function that ends it."""
        return VICTIMS[victim](self)

    def kill_server(self, part):
        """Kill all processes of PostgreSQL or of S3, including their guard."""
        folder = self.folder / part
        while others := living(folder).keys() - {os.getpid()}:
            for pid in others:
                end(pid)

        def start_again():
            self.running[part].close()
            self._start(part)

        return start_again

    def freeze(self, part):
        """Stop all processes of PostgreSQL or of S3; they continue where they were."""
        stopped = living(self.folder / part).keys() - {os.getpid()}
        send(signal.SIGSTOP, stopped)
        return lambda: send(signal.SIGCONT, stopped)

    def set_fault(self, *faults):
        """Let the store hang, lie or fail; each fault has a method and a path."""
        for fault in faults:
            self.proxy.set(*fault)
        return self.proxy.clear

    def kill_backend(self):
        """Kill one backend process of PostgreSQL, whereupon PostgreSQL restarts all of them."""
        serving = [
            pid
            for pid, name in living(self.folder / "postgres").items()
            if name == "postgres" and "127.0.0.1(" in command_of(pid)
        ]
        end(random.choice(serving))
        return start_nothing

    def kill_api(self):
        os.killpg(self.api.pid, signal.SIGKILL)
        self.api.wait()
        return self._start_api

    def kill_worker(self):
        """Kill one of the API's two workers; its supervisor replaces it."""
        workers = [pid for pid in children(self.api.pid) if "spawn_main" in command_of(pid)]
        end(random.choice(workers))
        return start_nothing

    def stop(self):
        if self.api is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.api.pid, signal.SIGKILL)
            self.api.wait()
        for stack in self.running.values():
            stack.close()


VICTIMS = {
    "postgres": lambda registry: registry.kill_server("postgres"),
    "s3": lambda registry: registry.kill_server("s3"),
    "api": Registry.kill_api,
    "backend": Registry.kill_backend,
    "worker": Registry.kill_worker,
    "frozen-pg": lambda registry: registry.freeze("postgres"),
    "frozen-s3": lambda registry: registry.freeze("s3"),
    "hanging": lambda registry: registry.set_fault((faults.hang,)),
    "slow": lambda registry: registry.set_fault((faults.drip(0.2, in_head=True),)),
    "truncating": lambda registry: registry.set_fault((faults.truncate(9), "GET", BLOBS)),
    "failing": lambda registry: registry.set_fault((faults.status(500), "*", BLOBS)),
    "redirecting": lambda registry: registry.set_fault((faults.status(307, Location="/x"),)),
    "flipping": lambda registry: registry.set_fault((faults.flip, "GET", BLOBS)),
    "forgetting": lambda registry: registry.set_fault((faults.forget, "PUT", BLOBS)),
    "claiming": lambda registry: registry.set_fault((faults.claim_to_have, "PUT", BLOBS)),
    "lying": lambda registry: registry.set_fault((faults.claim_or_forget, "PUT", BLOBS)),
}
# The others end at once; these last for a while.
LASTING = VICTIMS.keys() - {"postgres", "s3", "api", "backend", "worker"}


@contextmanager
def a_registry(folder):
    folder.chmod(0o711)  # PostgreSQL's own user passes through
    registry = Registry(folder)
    try:
        registry.start()
        yield registry
    finally:
        registry.stop()


def stable_ports():
    """Yield free ports that outgoing connections do not take while their server is down.

    They lie below the system's range of ephemeral ports.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        yield port


def start_nothing():
    """Start nothing: the parent of the killed process replaces it."""


def send(number, pids):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def end(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def children(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""  # the process has ended
