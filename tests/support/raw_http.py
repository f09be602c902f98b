"""Raw sockets to a server, for requests that no HTTP library writes."""

import socket
from contextlib import suppress
from urllib.parse import urlsplit


def opened(url, *, receive_buffer_bytes=None):
    """Connect; a small receive buffer lets the server notice early that nothing is read."""
    address = urlsplit(url)
    if receive_buffer_bytes is None:
        return socket.create_connection((address.hostname, address.port), timeout=10)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.settimeout(10)
    connection.connect((address.hostname, address.port))
    return connection


def received(connection):
    """Return everything that the server sends before it closes the connection."""
    response = b""
    with suppress(ConnectionError):
        while chunk := connection.recv(1 << 16):
            response += chunk
    return response


def response_on(connection):
    """Return the status and the body of the next response, whose length is announced."""
    length = 0
    with connection.makefile("rb", buffering=0) as stream:
        status = int(stream.readline().split()[1])
        while line := stream.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, stream.read(length)


def sent_until_closed(connection, data, *, most):
    """Send `data` repeatedly until the server closes, `most` times at most; return how often."""
    for count in range(most):
        try:
            connection.sendall(data)
        except ConnectionError:
            return count
    return most


def is_closed(connection, *, sending=b""):
    """Whether the server has closed the connection; what it still sends is read."""
    connection.settimeout(0.05)
    try:
        connection.sendall(sending)
        while connection.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True
