"""Callers without the required role are refused before their request body is read."""

import socket
from urllib.parse import urlsplit

import pytest
from fastapi.routing import iter_route_contexts

from app.services.identity import web_sessions
from tests.api.openapi_snapshot import document
from tests.support.racing import run_in_thread
from tests.support.session.served import pages_in

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


MUTATING = {"POST", "PUT", "PATCH", "DELETE"}
# Their forms open or close a session: the first two have no caller yet, the third needs no role.
SIGNING_IN = {"/sign-in", "/sign-in/{issuer}"}
NEEDS_NO_ROLE = {"/sign-out"}
# The Hub's clients ask whether a card is well-formed; the answer needs neither role nor body.
READS_NOTHING = {"/api/validate-yaml"}


MORE_VALUES = {
    "{revision}": "main",
    "{principal}": "alice",
    "{token_id}": "00000000-0000-4000-8000-000000000000",
    "{identity_id}": "00000000-0000-4000-8000-000000000000",
}


class BodyWasReadError(AssertionError):
    pass


async def must_not_be_read():
    raise BodyWasReadError


def mutating(app):
    """Return method and path of every mutating route of an application."""
    return {
        (method, context.path_format)
        for context in iter_route_contexts(app.routes)
        for method in (getattr(context, "methods", None) or ())
        if method in MUTATING
    }


def answer_of(app, method, path, *headers, kind="application/json", length=2000):
    """Send a request whose body fails the test when it is read; return the status."""
    sent = []

    async def send(message):
        sent.append(message)

    address = filled(path)
    for name, value in MORE_VALUES.items():
        address = address.replace(name, value)
    assert "{" not in address, f"{address}: give the parameter a value"
    scope = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": method,
        "scheme": "http",
        "path": address,
        "raw_path": address.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"host", b"registry"),
            (b"content-type", kind.encode()),
            (b"content-length", str(length).encode()),
            *headers,
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    run_in_thread(app(scope, must_not_be_read, send))
    return sent[0]["status"]


@pytest.fixture
def stranger(world):
    """The token of a principal without any grant."""
    return world.a_principal(None)[1]


def test_a_caller_without_grants_is_refused_unread(app, stranger):
    token = (b"authorization", f"Bearer {stranger}".encode())
    routes = mutating(app)
    statuses = {
        (method, path): (answer_of(app, method, path), answer_of(app, method, path, token))
        for method, path in routes
        if path not in READS_NOTHING
    }
    assert len(statuses) > 30
    assert {path for _, path in statuses} > {
        "/v1/tokens",
        "/api/models/{namespace}/{name}/commit/{revision}",
    }
    allowed = {(401, 403), (401, 404)}
    assert {route: each for route, each in statuses.items() if each not in allowed} == {}


@pytest.mark.parametrize("path", READS_NOTHING)
def test_a_route_without_a_role_reads_nothing(app, stranger, path):
    token = (b"authorization", f"Bearer {stranger}".encode())
    assert answer_of(app, "POST", path, token) == 200


MULTIPART = "multipart/form-data; boundary=x"


def a_push(app, world, token, **announced):
    return answer_of(app, "POST", f"{world.path}/versions", token, **announced)


def a_commit(app, world, token, **announced):
    path = f"/api/models/{world.prefix}/commit/main"
    return answer_of(app, "POST", path, token, kind="application/x-ndjson")


@pytest.mark.parametrize("send", [a_push, a_commit])
def test_a_push_to_a_full_namespace_is_refused_unread(app, world, tokens, send):
    world.a_version()
    with_quota(world, versions=1)
    token = (b"authorization", f"Bearer {tokens['publisher']}".encode())
    assert send(app, world, token, kind=MULTIPART) == 409


def test_a_push_that_declares_too_many_bytes_is_refused_unread(app, world, tokens):
    world.a_version()
    with_quota(world, stored_bytes=1 << 20)
    token = (b"authorization", f"Bearer {tokens['publisher']}".encode())
    assert a_push(app, world, token, kind=MULTIPART, length=5 << 20) == 409
    # It may fit, so the body is read, which fails here.
    assert a_push(app, world, token, kind=MULTIPART, length=1 << 19) == 500


def with_quota(world, **limits):
    body = {"stored_bytes": None, "versions": None, "requests": None} | limits
    world.made("PUT", f"/v1/namespaces/{world.namespace}/quota", by="admin", json=body)


def test_a_form_is_not_read_without_a_session(app):
    forms = {path for _, path in mutating(pages_in(app))} - SIGNING_IN
    assert len(forms) > 5
    statuses = {path: form_answer(app, path) for path in forms}
    assert set(statuses.values()) == {303}


def test_a_form_of_a_visitor_without_grants_is_not_read(app, sessions, stranger):
    cookie = web_sessions.sign_in(sessions, token=stranger).cookie
    forms = {path for _, path in mutating(pages_in(app))} - SIGNING_IN - NEEDS_NO_ROLE
    header = (b"cookie", f"registry_session={cookie}".encode())
    statuses = {path: form_answer(app, path, header) for path in forms}
    assert set(statuses.values()) == {404}


def form_answer(app, path, *headers):
    return answer_of(app, "POST", f"/admin{path}", *headers)
