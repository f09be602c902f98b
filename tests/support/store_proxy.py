"""A proxy before the real S3 server that hangs, is slow, truncates, lies or fails on request."""

import base64
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from urllib.parse import urlsplit

CHECKSUM = "x-amz-checksum-sha256"
_HOP = {"connection", "expect", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    forward: Callable[[], "Response"] = field(repr=False)

    @property
    def condition(self):
        return self.headers.get("if-none-match")


@dataclass(frozen=True)
class Response:
    """A response: `cut` bytes of its body are sent, with `pause_s` before each piece."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    size_bytes: int | None = None
    cut: int | None = None
    pause_s: float = 0
    pause_in_head: bool = False


class NoResponseError(Exception):
    """The connection closes without a response."""


class StoreProxy:
    """Forwards requests, except where a fault is set for their method and path."""

    def __init__(self, target):
        self.target = urlsplit(target)
        self.requests = []
        self.connections = 0
        self.released = threading.Event()
        self._faults = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def set(self, fault, method="*", path=""):
        """Apply a fault to all requests of a method whose path matches, until `clear`."""
        self._faults.append((method, re.compile(path), fault))

    def clear(self):
        """End all faults, and release what hangs."""
        self._faults.clear()
        self.released.set()
        self.released = threading.Event()

    @contextmanager
    def fault(self, fault, method="*", path=""):
        self.set(fault, method, path)
        try:
            yield
        finally:
            self.clear()

    def respond(self, request):
        for method, path, fault in list(self._faults):
            if method in ("*", request.method) and path.search(request.path):
                return fault(self, request)
        return request.forward()

    def seen(self, method, path=""):
        """Return the requests of a method so far whose path matches."""
        return [r for r in self.requests if r.method == method and re.search(path, r.path)]


def hang(proxy, _request):
    """Give no response until the fault is cleared."""
    proxy.released.wait(120)
    raise NoResponseError


def refuse(_proxy, _request):
    """Close the connection without a response."""
    raise NoResponseError


def forget(_proxy, request):
    """Confirm a write, checksum included, and store nothing."""
    headers = {CHECKSUM: request.headers[CHECKSUM]} if CHECKSUM in request.headers else {}
    return Response(200, headers | {"ETag": '"0"'})


def claim_to_have(_proxy, request):
    """Answer a conditional write as if the object existed; forward others."""
    if request.condition is None:
        return request.forward()
    body = b"<Error><Code>PreconditionFailed</Code></Error>"
    return Response(412, {"Content-Type": "application/xml"}, body)


def claim_or_forget(proxy, request):
    """Answer a conditional write as if the object existed, and confirm any other."""
    return (forget if request.condition is None else claim_to_have)(proxy, request)


def status(code, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _proxy, _request: Response(code, named)


def answer(code, body, **headers):
    return lambda _proxy, _request: Response(code, headers, body)


def altered(**headers):
    """Forward, and replace headers of the response; None removes one."""
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}

    def alter(_proxy, request):
        found = request.forward()
        kept = {name: value for name, value in found.headers.items() if name.lower() not in named}
        new = {name: value for name, value in named.items() if value is not None}
        return replace(found, headers=kept | new)

    return alter


WRONG_CHECKSUM = base64.b64encode(bytes(32)).decode()


def flip(_proxy, request):
    """Forward, and change the last byte of the body."""
    found = request.forward()
    return replace(found, body=found.body[:-1] + bytes([found.body[-1] ^ 1]))


def once(fault):
    """Apply a fault to the first request only."""
    left = [fault]

    def first(proxy, request):
        return left.pop()(proxy, request) if left else request.forward()

    return first


def truncate(at):
    return lambda _proxy, request: replace(request.forward(), cut=at)


def drip(pause_s, *, in_head=False):
    """Forward, and send the response byte by byte."""
    return lambda _proxy, request: replace(
        request.forward(), pause_s=pause_s, pause_in_head=in_head
    )


def _forwarded(target, request):
    connection = HTTPConnection(target.hostname, target.port, timeout=60)
    try:
        connection.putrequest(
            request.method, request.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in request.headers.items():
            if name not in _HOP:
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body)
        found = connection.getresponse()
        headers = {name: value for name, value in found.getheaders() if name.lower() not in _HOP}
        length = found.getheader("Content-Length")
        size_bytes = int(length) if request.method == "HEAD" and length else None
        return Response(found.status, headers, found.read(), size_bytes)
    except OSError as error:
        raise NoResponseError from error
    finally:
        connection.close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_):
        """A client that ends its connection is no error of the proxy."""


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.server.proxy.connections += 1
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (request := self._request()) is not None:
            proxy = self.server.proxy
            proxy.requests.append(request)
            try:
                response = proxy.respond(request)
            except NoResponseError:
                return
            with suppress(OSError):
                self._send(request, response)
            if response.cut is not None:
                return

    def _request(self):
        line = self.rfile.readline().decode("latin-1").split()
        if not line:
            return None
        headers = {}
        while (text := self.rfile.readline().decode("latin-1").strip()) != "":
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("expect") == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.rfile.read(int(headers.get("content-length", 0)))
        found = Request(line[0], line[1], headers, body, None)
        target = self.server.proxy.target
        return replace(found, forward=lambda: _forwarded(target, found))

    def _send(self, request, response):
        size = len(response.body) if response.size_bytes is None else response.size_bytes
        lines = [f"HTTP/1.1 {response.status} Status", f"Content-Length: {size}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        body = b"" if request.method == "HEAD" else response.body[: response.cut]
        self._send_slowly(head, response.pause_s if response.pause_in_head else 0)
        self._send_slowly(body, response.pause_s)

    def _send_slowly(self, data, pause_s):
        if not pause_s:
            self.wfile.write(data)
            return
        for byte in data:
            time.sleep(pause_s)
            self.wfile.write(bytes([byte]))


@contextmanager
def running_proxy(target):
    """Run a proxy before the S3 server at a URL."""
    proxy = StoreProxy(target)
    thread = threading.Thread(target=proxy._server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.clear()
        proxy._server.shutdown()
        proxy._server.server_close()
        thread.join()
