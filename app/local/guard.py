"""The guard process of a local server: runs it, and stops it when the supervisor stops or dies.

The guard is run by path with the standard library only, never imported. Its standard input is a
pipe; only the supervisor holds the other end. The kernel closes the pipe however the supervisor
ends, so an orderly stop and a `kill -9` of the supervisor take the same path. A parent-death
signal set by the supervisor would not work: Linux delivers it when the *thread* that forked ends.
The guard's main thread forks the server and lives as long as it does, so here the signal works,
as a second line of defence in case the guard itself is killed.
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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Only the supervisor decides when to stop: it may still be draining requests. Not SIG_IGN,
        # because the server would inherit ignored signals.
        signal.signal(number, lambda *_: None)
    uid, gid = order["account"] or (None, None)
    server = subprocess.Popen(  # noqa: S603 - the supervisor wrote the order
        order["command"],
        stdin=subprocess.DEVNULL,
        pass_fds=[order["lock"]],
        # Safe without threads. It runs after the change of user, which would clear the signal.
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
    # Not sys.stdin: this thread would hold its lock and block the interpreter's shutdown.
    os.read(0, 1)
    server.send_signal(order["stop_signal"])
    try:
        server.wait(order["grace_s"])
    except subprocess.TimeoutExpired:
        server.kill()


def _die_with(guard: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)

    def set_signal() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # the guard died before the call
            os._exit(1)

    return set_signal


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
