"""Observation of servers: the processes of a folder, locks, and waiting for conditions."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

from sqlalchemy import text

ROOT = Path(__file__).parents[2]


def living(folder):
    """Return the processes that hold the folder's lock, this one included: pid to name."""
    lock = (folder / "lock").stat()
    found = {}
    for opened in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.path.samestat(opened.stat(), lock):
                process = opened.parents[1]
                found[int(process.name)] = (process / "comm").read_text().strip()
    return found


def kill(folder, name):
    """Send SIGKILL to every process of that name in the folder; return when all have ended."""
    for pid in [pid for pid, each in living(folder).items() if each == name]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: name not in living(folder).values())


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def eventually(holds, *, within_s=5.0):
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def keeps_another_waiting(session):
    """Return whether another transaction waits for a lock of this one."""
    waiting = "SELECT count(*) FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    return session.scalar(text(waiting)) > 0


@contextmanager
def supervised(server, folder):
    """Run a server under another Python process: `facts` describe it, `kill()` ends the parent."""
    command = [sys.executable, "-m", "tests.local.supervisor", server, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            facts = SimpleNamespace(**json.loads(process.stdout.readline()))
            yield SimpleNamespace(facts=facts, kill=process.kill)
        finally:
            process.kill()
