"""The process between us and a server: runs it, and stops it when told to or when we die.

It is run by path with the standard library only, never imported. Its standard input is a pipe
whose other end only the supervising process holds. However that process ends, the kernel closes
the pipe, so one path serves both an orderly stop and a `kill -9` of the supervisor. A
parent-death signal set by the supervisor would not do: Linux delivers it when the *thread* that
forked ends. Here the main thread forks and lives as long as the server, so it holds as the
second line of defence, for a guard that is killed itself.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1


def main(order: dict[str, Any]) -> int:
    """Run the ordered server until it ends; return its exit code."""
    for asked in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Only the supervisor decides when to stop: it may still be draining requests. A handler
        # instead of SIG_IGN, because ignored signals would stay ignored in the server.
        signal.signal(asked, lambda *_: None)
    uid, gid = order["account"] or (None, None)
    server = subprocess.Popen(  # noqa: S603 - the order is our own
        order["command"],
        stdin=subprocess.DEVNULL,
        pass_fds=[order["lock"]],
        # Safe: there is no thread yet. Runs after the change of user, which clears the signal.
        preexec_fn=_die_with(os.getpid()) if sys.platform == "linux" else None,  # noqa: PLW1509
        user=uid,
        group=gid,
        extra_groups=None if uid is None else [],
    )
    threading.Thread(target=_stop_at_end_of_input, args=(server, order), daemon=True).start()
    code = server.wait()
    for leftover in order["leftovers"]:
        Path(leftover).unlink(missing_ok=True)
    return code


def _stop_at_end_of_input(server: subprocess.Popen[bytes], order: dict[str, Any]) -> None:
    # Not sys.stdin: its lock, held by this thread, would stall the end of the interpreter.
    os.read(0, 1)
    server.send_signal(order["stop_signal"])
    try:
        server.wait(order["grace_s"])
    except subprocess.TimeoutExpired:
        server.kill()


def _die_with(guard: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # it died before the request
            os._exit(1)

    return ask


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
