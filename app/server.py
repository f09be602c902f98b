"""Listening: the socket, and one process or several that serve on it.

Of several, the one that starts the others serves nothing itself, so what only the application needs
is imported by those.
"""

import os
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
# A worker answers its supervisor once it has imported everything; whoever does not is killed.
_WORKER_PATIENCE_S: Final = 60

# Everything goes to the same place, under the request that it is about.
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

# The signals that told this process to end; handlers are the process's, and so is this. A list,
# because a handler that another one interrupts must not wait for a lock.
_told_to_end: Final[list[int]] = []


class ListenError(OperatorError):
    """The server cannot listen there; the message says where and why."""


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket for an IP address and a port; port 0 picks a free one.

    It names its protocol, as uvicorn's own does not: asyncio sets TCP_NODELAY only on sockets
    known to be TCP, and without it every request after a connection's first waits 40 ms for a
    delayed acknowledgement (uvicorn#3149).

    Raises:
        ListenError: The address is in use, or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        message = f"{host}:{port} cannot be listened on: {error.strerror or error}."
        raise ListenError(message) from error
    return bound


def stop_cleanly_on_signals() -> None:
    """Let SIGINT and SIGTERM end this process as a success, through every `finally`.

    uvicorn, too, finishes its requests first and then raises the signal that it caught again.
    """

    def end(number: int, _: object) -> None:
        # Python swallows what is raised where it happens to call back a weak reference or a
        # `__del__`, so `serve` asks, too, whether the process was told to end.
        _told_to_end.append(number)
        sys.exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def url_of(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


class _AnnouncingServer(uvicorn.Server):
    """A server that says when it accepts connections; from then on a signal ends it in order."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.should_exit = self.should_exit or bool(_told_to_end)
        self._announce()


def serve(
    bound: socket.socket,
    *,
    workers: int,
    app: "Callable[[], FastAPI]",
    announce: Callable[[], None],
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; `announce` once connections are accepted.

    One worker runs `app` in this process; several are processes of their own, which read their
    settings from the environment. Until they have started, connections wait.
    """
    if workers == 1:
        with frozen_gc():
            config = _config(app())
        _AnnouncingServer(config, announce).run(sockets=[bound])
        return
    factory = f"{__name__}:{app_of_worker.__name__}"
    config = _config(factory, factory=True, workers=workers)
    with TemporaryDirectory(prefix="registry-metrics-") as folder:
        os.environ[SHARED_FOLDER] = folder
        supervisor = Multiprocess(config, sockets=[bound])
        if _told_to_end:
            return
        bound.listen(_BACKLOG)
        announce()
        supervisor.run()


def app_of_worker() -> "FastAPI":
    """Return what one of several workers serves; it ends with the process that started it.

    Else, after a `kill -9` of that process, workers would keep the port for themselves.
    """
    Thread(target=_end_with_supervisor, name="supervisor", daemon=True).start()
    with frozen_gc():
        return app_for(settings_from_environment())


def app_for(settings: Settings) -> "FastAPI":
    """Return the server for `settings`; only who serves imports all that belongs to it."""
    from app.main import create_app  # noqa: PLC0415

    return create_app(settings)


def _end_with_supervisor() -> None:
    supervisor = parent_process()
    if supervisor is not None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)  # its requests are finished first


def _config(app: "FastAPI | str", *, factory: bool = False, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=factory,
        workers=workers,
        timeout_worker_healthcheck=_WORKER_PATIENCE_S,
        access_log=False,
        server_header=False,
        http="app.http.header_limits:HeaderLimitedProtocol",
        log_config=_LOGGING,
        timeout_graceful_shutdown=10,
    )
