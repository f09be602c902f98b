"""Python imports this at its start: listening sockets hand TCP_NODELAY on to their connections.

uvicorn's own socket for several workers does not (uvicorn#3149), and every answer after a
connection's first then waits 40 ms. A comparison with that in it would compare nothing else.
"""

import socket

_bind = socket.socket.bind


def _bind_without_delay(self: socket.socket, address: object) -> None:
    if self.family in {socket.AF_INET, socket.AF_INET6} and self.type == socket.SOCK_STREAM:
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _bind(self, address)  # type: ignore[arg-type]


socket.socket.bind = _bind_without_delay  # type: ignore[method-assign,assignment]
