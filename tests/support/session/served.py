"""The application on a real socket, for clients with their own HTTP stack."""

import os
import subprocess
import sys
import threading
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import pytest
import uvicorn

from app.http.connections import LimitedProtocol
from app.server import listening_socket, url_of
from tests.support.observing import ROOT, eventually, free_port


@contextmanager
def serving(app, *, http=LimitedProtocol, port=0, **changes):
    """Serve `app` from a thread, on a free port by default; yield its URL."""
    usual = {"log_level": "critical", "access_log": False, "lifespan": "off", "ws": "none"}
    config = uvicorn.Config(app, http=http, **usual | changes)
    server = uvicorn.Server(config)
    with listening_socket("127.0.0.1", port) as bound:
        bound.listen(128)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield url_of(bound)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def started(stores):
    """Return a function that starts `serve` with some settings; return its process and URL."""
    processes = []

    def started(*, workers="1", **changes):
        port = str(free_port())
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", "--port", port, "--workers", workers],
            env=os.environ | stores.environment | changes,
            cwd=ROOT,
        )
        processes.append(process)
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: readiness(url) == 200, within_s=60)
        return process, url

    yield started
    for process in processes:
        process.kill()
        process.wait()


def readiness(url):
    """Return the status of /readyz; None if nothing answers.

    Tests ask many times; a client of httpx2 would read the system's certificates each time.
    """
    return status_of(f"{url}/readyz")


def status_of(url):
    """Return the status of a GET on a new connection; None if nothing answers."""
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname, address.port, timeout=5)
    with closing(connection), suppress(OSError, HTTPException):
        connection.request("GET", address.path)
        return connection.getresponse().status
    return None


def pages_in(app):
    """Return the application of the pages that is mounted in a server."""
    (pages,) = (route.app.app for route in app.routes if getattr(route, "name", "") == "pages")
    return pages


@pytest.fixture(scope="session")
def url(app):
    with serving(app) as url:
        yield url
