"""The client of every benchmark: raw HTTP/1.1 on persistent connections, equal for all."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httptools
import uvloop

_SHOWN: Final = 400  # characters of an unexpected response
_OK: Final = 400  # the lowest status of a failure
_IDLE_S: Final = 2.0  # uvicorn closes connections after 5 idle seconds
_ARRIVED_S: Final = 2.0  # by then, all requests of a fleet have arrived

T = TypeVar("T")


class BenchmarkError(RuntimeError):
    """A measured operation failed; the message says how."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that can be sent repeatedly."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def head(self, host: str) -> bytes:
        headers = {"Host": host, **self.headers}
        if self.body or self.method != "GET":
            headers["Content-Length"] = str(len(self.body))
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        return f"{self.method} {self.target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


@dataclass(slots=True)
class Response:
    """A response; `size_bytes` is the size of its body, even if the body was not kept."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    size_bytes: int = 0

    def json(self) -> Any:  # noqa: ANN401 - a document of any of the systems
        return json.loads(self.body)


class _Connection(asyncio.Protocol):
    """One persistent connection, with one request at a time, as in HTTP/1.1 clients."""

    transport: asyncio.Transport

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep  # whether bodies are kept, or only counted
        self._parser = httptools.HttpResponseParser(self)
        self._response = Response()
        self._done: asyncio.Future[Response] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # asyncio's own type is too wide

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(BenchmarkError(f"The connection was lost: {exc}"))

    def on_message_begin(self) -> None:
        self._response = Response()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._response.size_bytes += len(body)
        if self._keep:
            self._response.body += body

    def on_message_complete(self) -> None:
        self._response.status = self._parser.get_status_code()
        if self._done is not None:
            self._done.set_result(self._response)

    async def send(self, head: bytes, body: bytes) -> Response:
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(head)
        if body:
            self.transport.write(body)
        return await self._done


@dataclass(frozen=True, slots=True)
class Load:
    """Measurements of connections that repeated one request."""

    latencies_s: Sequence[float]
    seconds: float
    failures: int = 0

    @property
    def rate(self) -> float:
        """Responses per second."""
        return len(self.latencies_s) / self.seconds

    def quantile_ms(self, share: float) -> float:
        return 1000 * quantile(self.latencies_s, share)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the quantile at `share` of the values."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


class Client:
    """A client of one server; every request has `headers`, which include the credentials."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self.host, self.port = str(parts.hostname), int(parts.port or 80)
        self.headers = dict(headers or {})
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._kept: _Connection | None = None
        self._used_at = 0.0

    def close(self) -> None:
        if self._kept is not None:
            self._kept.transport.close()
        self._runner.close()

    def request(
        self,
        method: str,
        target: str,
        *,
        json_body: object = None,
        **changes: Any,  # noqa: ANN401
    ) -> Request:
        """Return a request of this client; `changes` can be more headers or a raw `body`."""
        headers = self.headers | changes.get("headers", {})
        body = changes.get("body", b"")
        if json_body is not None:
            body = json.dumps(json_body).encode()
            headers["Content-Type"] = "application/json"
        return Request(method, target, headers, body)

    def send(self, request: Request, *, keep: bool = True) -> Response:
        """Send one request on a persistent connection; it must succeed."""
        return self._runner.run(self._send(request, keep=keep))

    def call(self, method: str, target: str, **changes: Any) -> Any:  # noqa: ANN401 - JSON
        return self.send(self.request(method, target, **changes)).json()

    def load(self, request: Request, *, connections: int, seconds: float) -> Load:
        """Repeat a request on several connections at once, for some seconds."""
        return self._runner.run(self._load(request, connections, seconds))

    def wait_through(
        self, request: Request, act: Callable[[], T], *, connections: int
    ) -> tuple[T, list[float]]:
        """Send a long-polling request on several connections, and `act` while all of them wait.

        Returns the result of `act`, and the time of each response by `time.perf_counter`.
        """
        return self._runner.run(self._wait_through(request, act, connections))

    async def _send(self, request: Request, *, keep: bool) -> Response:
        if not keep:  # a new connection, which counts bytes and does not keep them
            connection = await self._connect(keep=False)
            try:
                return _succeeded(request, await self._exchange(connection, request))
            finally:
                connection.transport.close()
        idle = time.perf_counter() - self._used_at > _IDLE_S
        if self._kept is not None and (idle or self._kept.transport.is_closing()):
            self._kept.transport.close()
            self._kept = None
        self._kept = self._kept or await self._connect(keep=True)
        response = await self._exchange(self._kept, request)
        self._used_at = time.perf_counter()
        return _succeeded(request, response)

    async def _exchange(self, connection: _Connection, request: Request) -> Response:
        return await connection.send(request.head(f"{self.host}:{self.port}"), request.body)

    async def _connect(self, *, keep: bool) -> _Connection:
        loop = asyncio.get_running_loop()
        make: Callable[[], _Connection] = partial(_Connection, keep=keep)
        _, connection = await loop.create_connection(make, self.host, self.port)
        return connection

    @asynccontextmanager
    async def _connected(self, connections: int) -> AsyncIterator[list[_Connection]]:
        opened = [await self._connect(keep=True) for _ in range(connections)]
        try:
            yield opened
        finally:
            for one in opened:
                one.transport.close()

    async def _load(self, request: Request, connections: int, seconds: float) -> Load:
        async with self._connected(connections) as opened:
            start = time.perf_counter()
            each = [self._repeat(one, request, start + seconds) for one in opened]
            measured = await asyncio.gather(*each)
            elapsed = time.perf_counter() - start
        latencies = [latency for found, _ in measured for latency in found]
        return Load(latencies, elapsed, sum(failed for _, failed in measured))

    async def _wait_through(
        self, request: Request, act: Callable[[], T], connections: int
    ) -> tuple[T, list[float]]:
        async with self._connected(connections) as opened:
            waiting = [asyncio.create_task(self._moment(one, request)) for one in opened]
            await asyncio.sleep(_ARRIVED_S)
            if early := sum(each.done() for each in waiting):
                raise BenchmarkError(f"{early} of {connections} got a response before any change")
            return await asyncio.to_thread(act), await asyncio.gather(*waiting)

    async def _moment(self, connection: _Connection, request: Request) -> float:
        response = await self._exchange(connection, request)
        moment = time.perf_counter()
        if response.status != HTTPStatus.OK:
            raise BenchmarkError(f"a change led to a response with status {response.status}")
        return moment

    async def _repeat(
        self, connection: _Connection, request: Request, until: float
    ) -> tuple[list[float], int]:
        head = request.head(f"{self.host}:{self.port}")
        latencies: list[float] = []
        failures = 0
        while (start := time.perf_counter()) < until or not latencies:
            response = await connection.send(head, request.body)
            latencies.append(time.perf_counter() - start)
            failures += response.status >= _OK
        return latencies, failures


def _succeeded(request: Request, response: Response) -> Response:
    if response.status >= _OK:
        text = response.body.decode(errors="replace")[:_SHOWN]
        message = f"{request.method} {request.target} returned {response.status}: {text}"
        raise BenchmarkError(message)
    return response
