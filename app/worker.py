"""What one of several serving processes runs; the process that starts them names it."""

import os
import signal
from multiprocessing import parent_process
from threading import Thread

from fastapi import FastAPI

from app.main import create_app_from_environment
from app.unswept import unswept


def app_of_worker() -> FastAPI:
    """Return what one of several workers serves; it ends with the process that started it.

    Else, after a `kill -9` of that process, workers would keep the port for themselves.
    """
    Thread(target=_end_with_supervisor, name="supervisor", daemon=True).start()
    with unswept():
        return create_app_from_environment()


def _end_with_supervisor() -> None:
    supervisor = parent_process()
    if supervisor is not None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)  # its requests are finished first
