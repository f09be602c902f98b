"""The multipart body of a push: accepted forms, refusals, limits and disconnects."""

import itertools
import json
import socket
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.adapters import a_config
from tests.support.builders import code, weights
from tests.support.session.fixtures import LIMITS
from tests.support.session.in_process import InProcessClient

BOUNDARY = "boundary-of-a-test"
EVERYTHING = LIMITS.weights_bytes + LIMITS.config_bytes + LIMITS.metadata_bytes


def fault_codes(response):
    return [fault["code"] for fault in response.json()["faults"]]


@pytest.fixture
def prefix(world):
    """An empty prefix, and the base model that it is pushed for."""
    world.a_base()
    world.a_prefix()
    return world


def the_parts(world):
    return {
        "version": json.dumps({"base_model": world.base}).encode(),
        "config": a_config(),
        "weights": weights(),
    }


def part(name, content, *, boundary=BOUNDARY, disposition="form-data", headers=""):
    head = f'Content-Disposition: {disposition}; name="{name}"; filename="{name}"\r\n{headers}'
    return f"--{boundary}\r\n{head}\r\n".encode() + content + b"\r\n"


def body_of(parts, *, boundary=BOUNDARY):
    written = [part(name, content, boundary=boundary) for name, content in parts]
    return b"".join(written) + f"--{boundary}--\r\n".encode()


def send(world, content, *, by="publisher", kind=f"multipart/form-data; boundary={BOUNDARY}"):
    headers = {"Content-Type": kind}
    return world.call("POST", f"{world.path}/versions", by=by, content=content, headers=headers)


def nested(levels):
    """Return an object that is nested this many levels deep."""
    return {} if levels == 0 else {"a": nested(levels - 1)}


def pushed(world):
    listed = world.made("GET", f"{world.path}/versions", by="publisher")["items"]
    return [version["number"] for version in listed]


# Accepted forms


@pytest.mark.parametrize("order", list(itertools.permutations(["version", "config", "weights"])))
def test_parts_may_come_in_any_order(prefix, order):
    parts = the_parts(prefix)
    response = send(prefix, body_of([(name, parts[name]) for name in order]))
    assert response.status_code == 201, response.text


def test_the_media_type_is_compared_without_case(prefix):
    kind = f"Multipart/Form-Data; boundary={BOUNDARY}"
    assert send(prefix, body_of(the_parts(prefix).items()), kind=kind).status_code == 201


def test_a_boundary_may_be_quoted(prefix):
    kind = f'multipart/form-data; boundary="{BOUNDARY}"'
    assert send(prefix, body_of(the_parts(prefix).items()), kind=kind).status_code == 201


def test_unneeded_headers_are_ignored(prefix):
    parts = [
        part(name, content, headers="Content-Type: text/plain\r\nX-Other: 1\r\n")
        for name, content in the_parts(prefix).items()
    ]
    assert send(prefix, b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()).status_code == 201


def test_preamble_and_epilogue_are_ignored(prefix):
    body = body_of(the_parts(prefix).items())
    assert send(prefix, b"\r\n" + body + b"an epilogue").status_code == 201


def test_a_boundary_within_the_bytes_is_content(prefix):
    """Weights may contain any bytes, including line ends and dashes."""
    parts = the_parts(prefix) | {"weights": b"\r\n--boundary-of-another\r\n--"}
    response = send(prefix, body_of(parts.items()))
    assert code(response) == "invalid-artifact"


# Refusals


@pytest.mark.parametrize("name", ["version", "config", "weights"])
def test_a_missing_part_is_named(prefix, name):
    parts = the_parts(prefix)
    del parts[name]

    response = send(prefix, body_of(parts.items()))

    assert (response.status_code, code(response)) == (422, "invalid-request")
    assert response.json()["faults"] == [
        {"code": "missing", "message": f"The part {name} is missing."}
    ]


def test_a_repeated_part_is_named(prefix):
    parts = the_parts(prefix)
    response = send(prefix, body_of([*parts.items(), ("config", a_config())]))
    assert (response.status_code, fault_codes(response)) == (422, ["repeated-part"])
    assert pushed(prefix) == []


def test_an_unknown_part_is_named(prefix):
    response = send(prefix, body_of([*the_parts(prefix).items(), ("readme", b"# Hello")]))
    assert (response.status_code, fault_codes(response)) == (422, ["unknown-part"])
    assert "'readme'" in response.text


def test_a_part_without_a_name_is_unknown(prefix):
    nameless = f"--{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nhello\r\n".encode()
    response = send(prefix, nameless + body_of(the_parts(prefix).items()))
    assert fault_codes(response) == ["unknown-part"]


def test_all_faults_of_the_parts_are_reported_at_once(prefix):
    parts = the_parts(prefix)
    sent = [("readme", b""), ("config", parts["config"]), ("config", parts["config"])]
    response = send(prefix, body_of(sent))
    assert fault_codes(response) == ["unknown-part", "repeated-part", "missing", "missing"]


def test_the_number_of_reported_faults_is_limited(prefix):
    response = send(prefix, body_of([("readme", b"")] * 5000))
    assert response.status_code == 422
    assert len(response.json()["faults"]) < 100


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("text/plain", id="text"),
        pytest.param("application/x-www-form-urlencoded", id="form"),
        pytest.param("multipart/form-data", id="no-boundary"),
        pytest.param(f"multipart/mixed; boundary={BOUNDARY}", id="mixed"),
        pytest.param("", id="none"),
    ],
)
def test_another_content_type_is_not_supported(prefix, kind):
    response = send(prefix, body_of(the_parts(prefix).items()), kind=kind)
    assert (response.status_code, code(response)) == (415, "unsupported-media-type")


def test_an_overlong_boundary_is_refused(prefix):
    boundary = "b" * 300
    body = body_of(the_parts(prefix).items(), boundary=boundary)
    response = send(prefix, body, kind=f"multipart/form-data; boundary={boundary}")
    assert (response.status_code, code(response)) == (400, "malformed-request")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"neither boundary nor parts", id="no-parts"),
        pytest.param(f"--{BOUNDARY}\r\nContent Disposition\r\n\r\n".encode(), id="bad-header"),
        pytest.param(
            f"--{BOUNDARY}\r\n".encode() + b"X: 1\r\n" * 50 + b"\r\n", id="endless-headers"
        ),
    ],
)
def test_a_malformed_body_is_refused(prefix, body):
    response = send(prefix, body)
    assert (response.status_code, code(response)) == (400, "malformed-request")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_an_incomplete_body_is_refused_and_stores_nothing(prefix, kept):
    body = body_of(the_parts(prefix).items())

    response = send(prefix, body[: int(len(body) * kept)])

    assert (response.status_code, code(response)) == (400, "malformed-request")
    assert pushed(prefix) == []


@pytest.mark.parametrize("described", [b"{", b'"\\ud800"'], ids=["broken", "half-a-surrogate"])
def test_the_part_that_describes_the_version_must_be_json(prefix, described):
    parts = the_parts(prefix) | {"version": described}
    response = send(prefix, body_of(parts.items()))
    assert (response.status_code, code(response)) == (400, "malformed-request")


@pytest.mark.parametrize(
    "described",
    [
        pytest.param({}, id="no-base-model"),
        pytest.param({"base_model": "llama"}, id="no-digest"),
        pytest.param({"base_model": "{base}", "stage": "production"}, id="unknown-field"),
        pytest.param({"base_model": "{base}", "card": {"colour": "red"}}, id="unknown-in-card"),
        pytest.param({"base_model": "{base}", "lineage": {"n": 2**60}}, id="unhashable"),
        pytest.param({"base_model": "{base}", "lineage": {"n": [1e20] * 4000}}, id="too-much"),
        pytest.param({"base_model": "{base}", "lineage": {"n": "a\x00b"}}, id="nul"),
        pytest.param({"base_model": "{base}", "lineage": nested(17)}, id="too-deep"),
        pytest.param({"base_model": "{base}", "card": {"licence": "a\x07b"}}, id="control"),
    ],
)
def test_a_description_with_invalid_fields_is_refused(prefix, described):
    base = described.get("base_model", "")
    if base == "{base}":
        described = described | {"base_model": prefix.base}
    parts = the_parts(prefix) | {"version": json.dumps(described).encode()}
    response = send(prefix, body_of(parts.items()))
    assert (response.status_code, code(response)) == (422, "invalid-request"), response.text


def test_a_description_may_be_nested_within_the_limit(prefix):
    described = {"base_model": prefix.base, "lineage": nested(12)}
    parts = the_parts(prefix) | {"version": json.dumps(described).encode()}
    assert send(prefix, body_of(parts.items())).json()["lineage"] == nested(12)


# Size limits


@pytest.mark.parametrize(
    ("name", "limit_bytes"),
    [
        ("version", LIMITS.metadata_bytes),
        ("config", LIMITS.config_bytes),
        ("weights", LIMITS.weights_bytes),
    ],
)
def test_a_part_beyond_its_limit_is_named(prefix, name, limit_bytes):
    parts = the_parts(prefix) | {name: b" " * (limit_bytes + 1)}

    response = send(prefix, body_of(parts.items()))

    assert (response.status_code, code(response)) == (413, "too-large")
    assert f"The part {name}" in response.json()["detail"]
    assert pushed(prefix) == []


def test_a_part_at_its_limit_is_read(prefix):
    parts = the_parts(prefix) | {"weights": b" " * LIMITS.weights_bytes}
    response = send(prefix, body_of(parts.items()))
    assert code(response) == "invalid-artifact"


def test_a_body_announced_beyond_all_limits_is_refused_unread(prefix, url, tokens):
    address = urlsplit(url)
    head = (
        f"POST {prefix.path}/versions HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {tokens['publisher']}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {2 * EVERYTHING}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(head.encode())
        response = connection.recv(1 << 16)
    assert response.startswith(b"HTTP/1.1 413 ")


def streamed(prefix, url, tokens, chunks):
    """Send a body without announcing its length."""
    headers = {
        "Authorization": f"Bearer {tokens['publisher']}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
    }
    return httpx2.post(f"{url}{prefix.path}/versions", content=chunks, headers=headers, timeout=20)


def test_a_streamed_body_is_read(prefix, url, tokens):
    body = body_of(the_parts(prefix).items())
    chunks = (body[start : start + 1000] for start in range(0, len(body), 1000))
    assert streamed(prefix, url, tokens, chunks).status_code == 201


@pytest.mark.parametrize("name", ["weights", "readme"])
def test_a_streamed_part_is_refused_once_it_is_too_large(prefix, url, tokens, name):
    """The server responds before it has read the whole body, which therefore must be finite."""
    opened = part(name, b"").removesuffix(b"\r\n")
    chunks = itertools.chain([opened], itertools.repeat(b" " * (1 << 16), 64))
    response = streamed(prefix, url, tokens, chunks)
    assert (response.status_code, code(response)) == (413, "too-large")


# Disconnects


@pytest.mark.parametrize("announced", ["Content-Length: 3000", "Transfer-Encoding: chunked"])
def test_a_client_that_disconnects_leaves_nothing(prefix, url, tokens, announced):
    address = urlsplit(url)
    head = (
        f"POST {prefix.path}/versions HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {tokens['publisher']}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n{announced}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(head.encode() + b"400\r\n" + body_of(the_parts(prefix).items())[:500])
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass

    assert pushed(prefix) == []
    assert prefix.push().json()["number"] == 1


def test_a_disconnect_is_no_failure_of_the_registry(prefix, app, caplog):
    """The metrics count the response by its status, although the client cannot read it."""
    body = body_of(the_parts(prefix).items())
    begun = {"type": "http.request", "body": body[:500], "more_body": True}
    messages = iter([begun, {"type": "http.disconnect"}])

    async def leaving(scope, _, send):
        async def receive():
            return next(messages)

        await app(scope, receive, send)

    prefix.client = InProcessClient(leaving)
    response = send(prefix, body)

    assert (response.status_code, code(response)) == (400, "malformed-request")
    assert caplog.records == []


# Names that parsers read differently


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(
            'Content-Disposition: form-data; name="version"\r\n'
            'Content-Disposition: form-data; name="config"',
            id="two-headers",
        ),
        pytest.param('Content-Disposition: form-data; name="config"; name="version"', id="name"),
        pytest.param("Content-Disposition: form-data; name=config; NAME=version", id="case"),
        pytest.param(
            "Content-Disposition: form-data; name=config; name*=UTF-8''version", id="extended"
        ),
        pytest.param(
            'Content-Disposition: form-data; name="version"; filename="a"; filename="b"',
            id="file-name",
        ),
    ],
)
def test_a_part_whose_name_is_given_twice_is_refused(prefix, head):
    parts = the_parts(prefix)
    first = f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + parts.pop("version") + b"\r\n"
    response = send(prefix, first + body_of(parts.items()))
    assert (response.status_code, code(response)) == (400, "malformed-request")
    assert "more than once" in response.json()["detail"]
    assert pushed(prefix) == []


def test_a_file_name_may_contain_the_word_of_the_option(prefix):
    parts = the_parts(prefix)
    head = 'Content-Disposition: form-data; name="version"; filename="a; name=b.json"'
    first = f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + parts.pop("version") + b"\r\n"
    assert send(prefix, first + body_of(parts.items())).status_code == 201
