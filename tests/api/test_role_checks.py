"""Who may not do something is refused before a byte of what they send is read."""

import socket
from urllib.parse import urlsplit

import pytest

from tests.api.openapi_snapshot import document

# Anything that looks right in a path, whatever the operation.
_VALUES = {
    "{namespace}": "acme",
    "{name}": "voice",
    "{number}": "1",
    "{version}": "1",
    "{channel}": "production",
    "{digest}": f"sha256:{'0' * 64}",
    "{promotion_id}": "00000000-0000-4000-8000-000000000000",
    "{evaluation_id}": "00000000-0000-4000-8000-000000000000",
}
WITH_BODIES = sorted(
    (method.upper(), path)
    for path, methods in document()["paths"].items()
    for method, operation in methods.items()
    if "requestBody" in operation
)


def filled(path):
    for name, value in _VALUES.items():
        path = path.replace(name, value)
    return path


def answered_unread(url, method, path, *headers):
    """Announce a body without ever sending it; return the status that comes nevertheless."""
    address = urlsplit(url)
    head = [f"{method} {filled(path)} HTTP/1.1", f"Host: {address.netloc}", *headers]
    head += ["Content-Type: application/json", "Content-Length: 2000"]
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        return int(connection.recv(1 << 16).split()[1])


@pytest.mark.parametrize(("method", "path"), WITH_BODIES)
def test_strangers_and_those_who_may_not_are_refused_unread(url, tokens, method, path):
    assert answered_unread(url, method, path) == 401
    # An auditor may do none of these; what is not a role's own to see does not exist for it.
    auditor = f"Authorization: Bearer {tokens['auditor']}"
    assert answered_unread(url, method, path, auditor) in {403, 404}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/repos/create"),
        ("POST", "/api/models/acme/voice/preupload/main"),
        ("POST", "/api/models/acme/voice/commit/main"),
        ("POST", "/acme/voice.git/info/lfs/objects/batch"),
    ],
)
def test_so_are_strangers_who_speak_as_hugging_face_clients(url, method, path):
    assert answered_unread(url, method, path) == 401


@pytest.mark.parametrize("path", ["/v1/prefixes", "/api/models/acme/voice", "/api/whoami-v2"])
def test_whoever_is_asked_for_a_token_is_told_of_which_kind(client, path):
    for headers in ({}, {"Authorization": "Bearer prg_wrong"}, {"Authorization": "Basic eDp5"}):
        response = client.get(path, headers=headers)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
