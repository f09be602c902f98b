"""The application on a real socket, for clients with their own HTTP stack."""

import threading
from contextlib import contextmanager

import pytest
import uvicorn

from app.http.header_limits import HeaderLimitedProtocol
from app.server import listening_socket, url_of


@contextmanager
def serving(app, *, http=HeaderLimitedProtocol, port=0):
    """Serve `app` from a thread, on a free port by default; yield its URL."""
    config = uvicorn.Config(app, http=http, log_level="critical", access_log=False, lifespan="off")
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


def pages_in(app):
    """Return the application of the pages that is mounted in a server."""
    (pages,) = (route.app.app for route in app.routes if getattr(route, "name", "") == "pages")
    return pages


@pytest.fixture(scope="session")
def url(app):
    with serving(app) as url:
        yield url
