"""Callers without the required role are refused before their request body is read."""

import socket
from urllib.parse import urlsplit

import pytest

from tests.api.openapi_snapshot import document

# Well-formed values for the path parameters of every operation.
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

# To a caller without a token, and to one whose roles do not suffice.
REFUSED = {(401, 403), (401, 404)}


def filled(path):
    for name, value in _VALUES.items():
        path = path.replace(name, value)
    return path


def status_before_body(url, method, path, *headers):
    """Announce a body without sending it, and return the status of the response."""
    address = urlsplit(url)
    head = [f"{method} {filled(path)} HTTP/1.1", f"Host: {address.netloc}", *headers]
    head += ["Content-Type: application/json", "Content-Length: 2000"]
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        return int(connection.recv(1 << 16).split()[1])


def test_callers_without_token_or_role_are_refused_unread(url, tokens):
    with_bodies = [
        (method.upper(), path)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation
    ]
    # An auditor may do none of these; objects that it may not see are reported as absent.
    auditor = f"Authorization: Bearer {tokens['auditor']}"
    statuses = {
        (method, path): (
            status_before_body(url, method, path),
            status_before_body(url, method, path, auditor),
        )
        for method, path in with_bodies
    }
    assert len(statuses) > 20
    assert {route: each for route, each in statuses.items() if each not in REFUSED} == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/repos/create"),
        ("POST", "/api/models/acme/voice/preupload/main"),
        ("POST", "/api/models/acme/voice/commit/main"),
        ("POST", "/acme/voice.git/info/lfs/objects/batch"),
    ],
)
def test_hugging_face_clients_without_token_are_refused_unread(url, method, path):
    assert status_before_body(url, method, path) == 401


@pytest.mark.parametrize("path", ["/v1/prefixes", "/api/models/acme/voice", "/api/whoami-v2"])
def test_a_401_names_the_kind_of_token(client, path):
    for headers in ({}, {"Authorization": "Bearer prg_wrong"}, {"Authorization": "Basic eDp5"}):
        response = client.get(path, headers=headers)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
