"""Supervision of local servers: start, readiness, stop and ports. No server outlives us."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from app.local.account import Account
from app.local.folder import LocalServerError, ServerFolder

LOOPBACK = "127.0.0.1"

_GUARD = Path(__file__).with_name("guard.py")
_POLL_S = 0.02
_PORT_ATTEMPTS = 3
_LOG_LINES = 12
# Servers inherit only these variables: others, such as PGPORT or WEED_..., would configure them.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")

T = TypeVar("T")


class ServerEndedError(LocalServerError):
    """A server ended before it was ready; it may succeed with other ports."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run in its folder.

    `account` is None for our own user. `leftovers` are files that the program creates elsewhere
    and does not remove when it is killed.
    """

    name: str
    command: tuple[str, ...]
    folder: ServerFolder
    account: Account | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 1.0
    leftovers: tuple[str, ...] = ()

    def full_environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {**inherited, "HOME": str(self.folder.path), "LC_ALL": "C", **self.environment}


@contextmanager
def running(
    program: Program, *, ready: Callable[[], None], timeout_s: float
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server; enter the block when it is ready, and stop it at the end of the block.

    The server also ends when this process does. The block may be entered and left in any thread.

    Args:
        program: The program to run.
        ready: Raises until the server is ready. It is retried, so it must fail quickly. It must
            identify the server, because another one may have taken the port.
        timeout_s: How long the server may take to become ready.

    Raises:
        ServerEndedError: The server ended before it was ready.
        LocalServerError: The server was not ready in time.
    """
    guard = _spawn(program)
    try:
        _await_readiness(program, guard, ready, timeout_s)
        yield guard
    finally:
        _stop(program, guard)


def run_to_end(program: Program, script: str = "") -> None:
    """Run a program to its end, with `script` as its input.

    Raises:
        LocalServerError: The program ended with an error.
    """
    account = program.account
    with _opened_log(program.folder) as log:
        ended = subprocess.run(  # noqa: S603 - our own command
            program.command,
            input=script.encode(),
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=program.folder.path,
            env=program.full_environment(),
            pass_fds=[program.folder.lock],
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            check=False,
        )
    if ended.returncode:
        raise LocalServerError(f"{program.name} failed. {_log_tail(program.folder)}")


def enter_on_free_ports(
    stack: ExitStack,
    start: Callable[[list[int]], AbstractContextManager[T]],
    *,
    count: int,
    wanted: int | None,
) -> T:
    """Enter `start(ports)`; retry with other ports if one is taken between choice and use.

    Args:
        stack: The stack that stops the server when it closes.
        start: A function of `count` ports.
        count: The number of ports to choose.
        wanted: The first port, if the caller requires a specific one.
    """
    for _ in range(_PORT_ATTEMPTS - 1):
        with suppress(ServerEndedError):
            return stack.enter_context(start(_free_ports(count, wanted)))
    return stack.enter_context(start(_free_ports(count, wanted)))


def _free_ports(count: int, wanted: int | None) -> list[int]:
    with ExitStack() as stack:
        # All sockets are bound before any is closed, so that the ports differ.
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for index, unbound in enumerate(sockets):
            unbound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _bind(unbound, wanted or 0 if index == 0 else 0)
        return [bound.getsockname()[1] for bound in sockets]


def _bind(unbound: socket.socket, port: int) -> None:
    try:
        unbound.bind((LOOPBACK, port))
    except OSError as error:
        raise LocalServerError(
            f"Port {port} of {LOOPBACK} cannot be used ({error.strerror}); choose another."
        ) from error


def _spawn(program: Program) -> subprocess.Popen[bytes]:
    account = program.account
    order = {
        "command": program.command,
        "account": [account.uid, account.gid] if account else None,
        "lock": program.folder.lock,
        "stop_signal": program.stop_signal,
        "grace_s": program.grace_s,
        "leftovers": program.leftovers,
    }
    with _opened_log(program.folder) as log:
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-I", "-S", str(_GUARD), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=program.folder.path,
            env=program.full_environment(),
            pass_fds=[program.folder.lock],
            # Ctrl-C signals the terminal's whole process group; the servers must stop after us.
            start_new_session=True,
        )


def _await_readiness(
    program: Program,
    guard: subprocess.Popen[bytes],
    ready: Callable[[], None],
    timeout_s: float,
) -> None:
    deadline = time.monotonic() + timeout_s
    while (failure := _failure(ready)) is not None:
        if guard.poll() is not None:
            raise ServerEndedError(
                f"{program.name} ended before it was ready. {_log_tail(program.folder)}"
            )
        if time.monotonic() > deadline:
            raise LocalServerError(
                f"{program.name} was not ready within {timeout_s:g} s ({failure})."
                f" {_log_tail(program.folder)}"
            ) from failure
        time.sleep(_POLL_S)


def _failure(ready: Callable[[], None]) -> Exception | None:
    try:
        ready()
    except Exception as error:  # noqa: BLE001 - each client has its own errors for "not yet"
        return error
    return None


def _stop(program: Program, guard: subprocess.Popen[bytes]) -> None:
    if guard.stdin:
        guard.stdin.close()
    try:
        guard.wait(program.grace_s + 5)
    except subprocess.TimeoutExpired:
        guard.kill()
        guard.wait()


@contextmanager
def _opened_log(folder: ServerFolder) -> Iterator[int]:
    log = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield log
    finally:
        os.close(log)


def _log_tail(folder: ServerFolder) -> str:
    lines = folder.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    return "\n".join([f"The end of its log, {folder.log}:", *lines])
