"""A client of an application in this process, for tests without a socket."""

import asyncio
import threading
from contextlib import suppress
from functools import cache
from urllib.parse import unquote

import httpx2
import uvloop


class InProcessClient(httpx2.Client):
    """Sends each request in one call to an event loop that all clients of this process share.

    Starlette's client hands over between threads ten times for each request, to let a test read a
    response while it is sent. That takes as long as a small request. Use it for such tests, and
    for applications with a lifespan.
    """

    def __init__(self, app, *, raise_server_exceptions=True, headers=None):
        super().__init__(
            base_url="http://testserver",
            headers={"user-agent": "testclient"} | (headers or {}),
            transport=_Transport(app, raises=raise_server_exceptions),
            follow_redirects=True,
        )
        self.app = app


class _Transport(httpx2.BaseTransport):
    def __init__(self, app, *, raises):
        self._app = app
        self._raises = raises

    def handle_request(self, request):
        exchange = _Exchange(request.read())
        served = self._served(_scope_of(request), exchange)
        asyncio.run_coroutine_threadsafe(served, _event_loop()).result()
        body = b"" if request.method == "HEAD" else b"".join(exchange.chunks)
        return httpx2.Response(
            exchange.status,
            headers=exchange.headers,
            stream=httpx2.ByteStream(body),
            request=request,
        )

    async def _served(self, scope, exchange):
        with suppress(*([] if self._raises else [Exception])):
            await self._app(scope, exchange.receive, exchange.send)


class _Exchange:
    """The messages of one request and of its response; without a response, the status is 500."""

    def __init__(self, body):
        self.status = 500
        self.headers = []
        self.chunks = []
        self._body = body
        self._ended = asyncio.Event()

    async def receive(self):
        if self._body is None:
            await self._ended.wait()
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body}

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = message.get("headers", [])
        else:
            self.chunks.append(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                self._ended.set()


def _scope_of(request):
    url = request.url
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": request.method,
        "path": unquote(url.path),
        "raw_path": url.raw_path.partition(b"?")[0],
        "root_path": "",
        "scheme": url.scheme,
        "query_string": url.query,
        "headers": headers,
        "client": ("testclient", 50000),
        "server": [url.host, url.port or {"http": 80, "https": 443}[url.scheme]],
        "extensions": {},
        "state": {},
    }


@cache
def _event_loop():
    """Start the loop that serves until the process ends, with the server's own loop."""
    started = threading.Event()
    loops = []

    async def serve():
        loops.append(asyncio.get_running_loop())
        started.set()
        await asyncio.Event().wait()

    def run():
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())

    threading.Thread(target=run, name="in-process server", daemon=True).start()
    started.wait()
    return loops[0]
