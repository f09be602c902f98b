"""The listening socket, and the one or more processes that serve on it.

With several workers, the supervisor serves no requests, so only the workers import the
application.
"""

import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from multiprocessing import parent_process
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.supervisors import Multiprocess

from app.domain.errors import OperatorError
from app.gc_freeze import frozen_gc
from app.http.metrics import SHARED_FOLDER
from app.http.request_ids import RequestIds
from app.settings import Settings, settings_from_environment

if TYPE_CHECKING:
    from fastapi import FastAPI

_BACKLOG: Final = 2048
_DRAIN_S: Final = 20
_OPEN_FILES: Final = 1 << 16
# A worker cannot respond to its supervisor before it has imported everything; after this time, the
# supervisor kills it.
_WORKER_START_S: Final = 60

# All loggers write to standard error, with the id of the request.
_LOGGING: Final = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request": {"()": f"{RequestIds.__module__}.{RequestIds.__name__}"}},
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"}
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request"]}
    },
    "root": {"level": "WARNING", "handlers": ["stderr"]},
    "loggers": {"uvicorn": {"level": "INFO"}},
}

# The signals received so far that end this process. It is global because signal handlers are, and
# a list because a handler that interrupts another one must not wait for a lock.
_ending_signals: Final[list[int]] = []


class ListenError(OperatorError):
    """The server cannot listen on an address; the message has the address and the reason."""


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket for an IP address and a port; port 0 picks a free one.

    Unlike uvicorn's own, the socket names its protocol. asyncio sets TCP_NODELAY only on sockets
    known to be TCP; without it, every request after the first of a connection waits 40 ms for a
    delayed acknowledgement (uvicorn#3149).

    Raises:
        ListenError: The address is in use, or does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        message = f"Cannot listen on {host}:{port}: {error.strerror or error}."
        raise ListenError(message) from error
    return bound


def stop_cleanly_on_signals() -> None:
    """Let SIGINT and SIGTERM end this process with status 0, running every `finally`.

    uvicorn finishes its requests first and then raises the signal again.
    """

    def end(number: int, _: object) -> None:
        # Python swallows exceptions in weak reference callbacks and `__del__`, so `serve` also
        # checks for received signals.
        _ending_signals.append(number)
        sys.exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def url_of(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


class _AnnouncingServer(uvicorn.Server):
    """A server that announces when it accepts connections and can be stopped by a signal."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.should_exit = self.should_exit or bool(_ending_signals)
        self._announce()


def serve(
    bound: socket.socket,
    *,
    workers: int,
    app: "Callable[[], FastAPI]",
    announce: Callable[[], None],
    drain_s: int = _DRAIN_S,
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; `announce` once connections are accepted.

    A single worker runs `app` in this process. Several workers are separate processes that read
    their settings from the environment; until they have started, connections wait.
    """
    _raise_limit_of_open_files()
    if workers == 1:
        with frozen_gc():
            config = _config(app(), drain_s=drain_s)
        _AnnouncingServer(config, announce).run(sockets=[bound])
        return
    factory = f"{__name__}:{app_of_worker.__name__}"
    config = _config(factory, drain_s=drain_s, factory=True, workers=workers)
    with TemporaryDirectory(prefix="registry-metrics-") as folder:
        os.environ[SHARED_FOLDER] = folder
        supervisor = Multiprocess(config, sockets=[bound])
        if _ending_signals:
            return
        bound.listen(_BACKLOG)
        announce()
        supervisor.run()


def app_of_worker() -> "FastAPI":
    """Return the application of one of several workers, which ends when its supervisor does.

    Otherwise, after a `kill -9` of the supervisor, its workers would keep the port.
    """
    Thread(target=_end_with_supervisor, name="supervisor", daemon=True).start()
    with frozen_gc():
        return app_for(settings_from_environment())


def app_for(settings: Settings) -> "FastAPI":
    """Return the application; it is imported here so that only serving processes load it."""
    from app.main import create_app  # noqa: PLC0415

    return create_app(settings)


def _end_with_supervisor() -> None:
    supervisor = parent_process()
    if supervisor is not None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)  # requests in progress finish first


def _raise_limit_of_open_files() -> None:
    """Allow as many connections as the system does; workers inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _config(
    app: "FastAPI | str", *, drain_s: int, factory: bool = False, workers: int = 1
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=factory,
        workers=workers,
        timeout_worker_healthcheck=_WORKER_START_S,
        access_log=False,
        server_header=False,
        http="app.http.connections:LimitedProtocol",
        ws="none",
        log_config=_LOGGING,
        timeout_graceful_shutdown=drain_s,
    )
