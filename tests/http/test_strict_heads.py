"""Ambiguous and unprintable request heads: each has an answer, and none is taken at a guess."""

import json

import pytest

from app.http.header_limits import HeaderLimitedProtocol
from tests.support.builders import code
from tests.support.raw_http import opened, received


def answer_to(url, head, *, method="GET", path="/healthz"):
    """Send raw header lines; return the status and the whole response."""
    with opened(url) as connection:
        first = f"{method} {path} HTTP/1.1".encode("latin-1")
        connection.sendall(b"\r\n".join([first, *head, b"Connection: close", b"", b""]))
        response = received(connection)
    return int(response.split()[1]), response


HOST = b"Host: registry"


@pytest.mark.parametrize(
    "hosts",
    [
        pytest.param([], id="none"),
        pytest.param([HOST, HOST], id="twice"),
        pytest.param([HOST, b"Host: other"], id="two"),
        pytest.param([b"Host:"], id="empty"),
        pytest.param([b"Host: a b"], id="space"),
        pytest.param([b"Host: a/b"], id="path"),
        pytest.param([b"Host: user@a"], id="user"),
        pytest.param([b"Host: \xff"], id="not-ascii"),
    ],
)
def test_a_request_needs_exactly_one_host(url, hosts):
    status, response = answer_to(url, hosts)
    assert status == 400
    document = json.loads(response.partition(b"\r\n\r\n")[2])
    assert document["type"] == "/problems/malformed-request"
    assert "Host" in document["detail"]


@pytest.mark.parametrize(
    "host", ["registry.example:8080", "127.0.0.1", "[::1]:8080", "[2001:db8::1]"]
)
def test_a_host_has_a_name_and_a_port(client, host):
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("first", ["publisher", "reader"])
def test_of_two_tokens_none_counts(client, tokens, first):
    others = [name for name in ("publisher", "reader") if name != first]
    headers = [("Authorization", f"Bearer {tokens[name]}") for name in (first, *others)]
    response = client.get("/v1/prefixes", headers=headers)
    assert (response.status_code, code(response)) == (400, "malformed-request")
    assert "Authorization" in response.json()["detail"]


def bearer(tokens):
    return b"Authorization: Bearer " + tokens["publisher"].encode()


CONTROL = ("%00", "%01", "%0a", "%0d%0aX-Evil:1", "%1b", "%7f", "%c2%85")
PATHS = (
    "/api/models/acme/{}",
    "/api/models/acme/voice/revision/{}",
    "/acme/voice/resolve/main/{}",
    "/acme/voice/resolve/{}/README.md",
    "/v1/prefixes/acme/{}",
    "/v1/policies/{}/1",
    "/{}",
)
# Without a session, these lead to the sign-in form.
PAGES = ("/admin/prefixes/acme/{}", "/admin/policies/{}/1")


@pytest.mark.parametrize("path", PATHS)
def test_a_path_with_control_characters_names_nothing(url, tokens, path):
    statuses = {
        each: answer_to(url, [HOST, bearer(tokens)], path=path.format(each))[0] for each in CONTROL
    }
    assert set(statuses.values()) == {404}


@pytest.mark.parametrize("path", [*PATHS, *PAGES])
@pytest.mark.parametrize("each", [*CONTROL, "%ff", "%ed%a0%80", "\xff", "caf%c3%a9"])
def test_an_unprintable_path_has_an_answer(url, tokens, path, each):
    status, _ = answer_to(url, [HOST, bearer(tokens)], path=path.format(each))
    assert status in {303, 400, 404, 422}


HEADERS = (
    b"Authorization: Bearer %s",
    b"Cookie: registry_session=%s",
    b'Cookie: registry_session="%s"; registry_sign_in="%s"',
    b"If-None-Match: %s",
    b"Range: %s",
    b"Content-Type: %s",
    b"Content-Type: multipart/form-data; boundary=%s",
    b"Idempotency-Key: %s",
    b"X-Request-Id: %s",
    b"X-Forwarded-Proto: %s",
    b"X-Forwarded-For: %s",
)


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(
    "value", [b"\xff\xfe", b"\x80", b"\\012x", b"a\tb", b"\x00", b"\x01", b"\x7f", b""]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/prefixes"),
        ("GET", "/admin/"),
        ("GET", "/admin/sign-in"),
        ("POST", "/v1/suites"),
        ("POST", "/admin/sign-in"),
        ("GET", "/api/models/acme/voice"),
    ],
)
def test_an_unprintable_header_has_an_answer(url, tokens, header, value, method, path):
    line = header.replace(b"%s", value)
    others = [] if header.startswith(b"Authorization") else [bearer(tokens)]
    length = b"Content-Length: 0"
    status, _ = answer_to(url, [HOST, line, length, *others], method=method, path=path)
    assert status < 500


def test_a_head_may_take_ten_seconds():
    assert HeaderLimitedProtocol.time_s == 10.0


def test_a_head_may_have_64_kib():
    assert HeaderLimitedProtocol.most_bytes == 64 * 1024


class Transport:
    """A connection that records its bytes."""

    def __init__(self, *, is_closing):
        self.written = b""
        self.is_closing = lambda: is_closing

    def write(self, data):
        self.written += data

    def close(self):
        self.is_closing = lambda: True


@pytest.mark.parametrize(("is_closing", "refusals"), [(False, 1), (True, 0)])
def test_a_connection_gets_one_refusal_at_most(is_closing, refusals):
    protocol = object.__new__(HeaderLimitedProtocol)
    protocol.transport, protocol.cycle = Transport(is_closing=is_closing), None
    for _ in range(2):
        protocol.send_400_response("Invalid HTTP request.")
    assert protocol.transport.written.count(b"HTTP/1.1 400 ") == refusals
