"""Sets TCP_NODELAY on listening sockets, from which connections inherit it; Python imports this.

uvicorn does not set it with several workers (uvicorn#3149), so that every response after a
connection's first waits 40 ms. That delay would dominate a comparison.
"""

import socket

_bind = socket.socket.bind


def _bind_without_delay(self: socket.socket, address: object) -> None:
    if self.family in {socket.AF_INET, socket.AF_INET6} and self.type == socket.SOCK_STREAM:
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _bind(self, address)  # type: ignore[arg-type]


socket.socket.bind = _bind_without_delay  # type: ignore[method-assign,assignment]
