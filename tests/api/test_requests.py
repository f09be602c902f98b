"""What every request gets: an id, headers, an end in time, and an answer that tells no secret."""

import json
import logging
import re
import socket
import time as clock
import uuid
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError
from starlette.requests import Request

from app.db.session import sessions_on
from app.edge.heads import BoundedHeads
from app.edge.pace import PacedBodies
from app.edge.request_ids import RequestIds
from app.main import app_of
from app.problems import database_failed
from tests.blobs import MemoryBlobs
from tests.builders import a_suite
from tests.racing import at_once
from tests.served import serving

CANARY = "canary-4b1d-hunter2"


def code(response):
    return response.json()["type"].removeprefix("/problems/")


# Ids


def test_an_answer_has_the_id_that_the_client_gave(client):
    given = "trace.1-A_b"
    response = client.get("/healthz", headers={"X-Request-Id": given})
    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\tb", "<b>", "a,b"])
def test_an_id_that_cannot_be_copied_anywhere_is_replaced(client, given):
    response = client.get("/healthz", headers={"X-Request-Id": given})
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


def test_every_kind_of_answer_has_an_id_of_its_own(world, world_on):
    world.a_live_version()
    answers = [
        world.client.get("/v1/prefixes"),
        world.client.get("/nowhere"),
        world.client.delete("/v1/prefixes"),
        world.client.get("/api/models/a/b"),
        world.call("POST", "/v1/suites", by="admin", headers={"Idempotency-Key": ""}),
        failing(world, world_on),
    ]
    assert [each.status_code for each in answers] == [401, 404, 405, 401, 400, 500]
    assert len({each.headers["x-request-id"] for each in answers}) == len(answers)


# Headers


@pytest.mark.parametrize("path", ["/v1/prefixes", "/healthz", "/nowhere", "/api/models/a/b"])
def test_an_answer_says_what_a_browser_may_do_with_it(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "strict-transport-security" not in headers


def test_what_has_a_tag_may_be_kept_by_whom_it_was_sent_to(world):
    world.a_version()
    world.a_channel()
    response = world.call("GET", f"{world.path}/channels/production", by="publisher")
    assert response.headers["cache-control"] == "private, no-cache"


def test_https_alone_is_demanded_where_it_was_configured(parts):
    with TestClient(app_of(parts, hsts_max_age_s=31_536_000)) as client:
        headers = client.get("/healthz").headers
    assert headers["strict-transport-security"] == "max-age=31536000"


def test_the_documentation_may_load_what_it_needs(client):
    response = client.get("/docs")
    policy = response.headers["content-security-policy"]
    for loaded in re.findall(r'(?:src|href)="(https://[^/"]+)', response.text):
        assert loaded in policy


# Failures


class BrokenBlobs(MemoryBlobs):
    """A store whose errors say too much."""

    def presigned_url(self, digest, *, file_name, lifetime_s):
        raise RuntimeError(f"SELECT password -- {CANARY}") from OSError(CANARY)


def failing(world, world_on, **headers):
    """Ask something of a registry that fails at it."""
    broken = world_on(blobs=BrokenBlobs())
    path, query = f"/v1/resolve/{world.prefix}", {"unit": CANARY}
    return broken.call("GET", path, by="reader", params=query, headers=headers)


def test_a_failure_tells_its_place_in_the_code_and_nothing_else(world, world_on, caplog):
    world.a_live_version()

    response = failing(world, world_on, **{"X-Request-Id": "of-this-failure"})

    assert (response.status_code, code(response)) == (500, "internal-error")
    assert "RuntimeError at " in caplog.text
    assert "resolve.py:" in caplog.text
    assert "after OSError" in caplog.text
    for told in (caplog.text, response.text, str(response.headers)):
        for secret in (CANARY, "SELECT", "Traceback", "prg_"):
            assert secret not in told


def test_a_statement_that_the_database_refuses_is_not_told(world, world_on, stores, caplog):
    """Without its tables' columns the registry is broken, and its log says no row of them."""
    engine = create_engine(stores.postgres.owner_url)
    with engine.connect() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE suite (id int)"))
        connection.commit()
        broken = world_on(sessions=sessions_on(connection))
        body = a_suite(name=CANARY)
        response = broken.call("POST", "/v1/suites", by="admin", json=body)
        connection.rollback()
    engine.dispose()

    assert (response.status_code, code(response)) == (500, "internal-error")
    assert "[42703]" in caplog.text
    for told in (caplog.text, response.text):
        for secret in (CANARY, "SELECT", "suite.", "prg_"):
            assert secret not in told


def test_the_log_has_the_id_of_the_request(world, world_on):
    world.a_live_version()
    lines = []
    handler = logging.Handler()
    handler.addFilter(RequestIds())
    handler.emit = lambda record: lines.append(record.request_id)
    logger = logging.getLogger("app")
    logger.addHandler(handler)
    failing(world, world_on, **{"X-Request-Id": "of-this-failure"})
    logger.removeHandler(handler)
    assert lines == ["of-this-failure"]


# Contention


def a_deadlock(engine):
    """Let two transactions wait for each other; return what the database says to one of them."""
    names = [f"deadlock-{uuid.uuid4().hex}" for _ in range(2)]

    def lock(first, second):
        with engine.connect() as connection:
            for name in (first, second):
                statement = "SELECT pg_advisory_xact_lock(hashtext(:name))"
                try:
                    connection.execute(text(statement), {"name": name})
                except DBAPIError as error:
                    return error
                clock.sleep(0.1)
        return None

    first, second = at_once(lambda: lock(*names), lambda: lock(*reversed(names)))
    return first or second


def a_lock_that_is_not_got(engine):
    with engine.connect() as holder, engine.connect() as other:
        holder.execute(text("LOCK TABLE kept_answer IN ACCESS EXCLUSIVE MODE NOWAIT"))
        other.execute(text("SET lock_timeout = 50"))
        with pytest.raises(OperationalError) as refused:
            other.execute(text("SELECT 1 FROM kept_answer"))
    return refused.value


@pytest.mark.parametrize("provoke", [a_deadlock, a_lock_that_is_not_got])
def test_whoever_loses_against_others_is_told_to_try_again(stores, tokens, provoke):
    engine = create_engine(stores.postgres.owner_url)
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": []})
    response = database_failed(request, provoke(engine))
    engine.dispose()
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert "Others are changing the same" in json.loads(response.body)["detail"]


def test_a_connection_lost_while_writing_leaves_the_outcome_open(engine):
    """Nobody can know whether a commit came through, so nothing else is claimed."""
    with engine.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(OperationalError) as lost:
            connection.execute(text("SELECT 1"))

    def told(method):
        request = Request({"type": "http", "method": method, "path": "/", "headers": []})
        return json.loads(database_failed(request, lost.value).body)["detail"]

    assert "not known" in told("POST")
    assert "not known" not in told("GET")


# Pace


def opened(url):
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=10)


def heard(connection):
    """Return all that the server says before it hangs up."""
    answer = b""
    while chunk := connection.recv(1 << 16):
        answer += chunk
    return answer


class Impatient(BoundedHeads):
    time_s = 0.3


@pytest.fixture(scope="module")
def impatient(app):
    """The URL of a server that waits for nobody."""
    paced = PacedBodies(app, longest_pause_s=0.3, slowest_bytes_s=10_000, grace_s=0.5)
    with serving(paced, http=Impatient) as url:
        yield url


def head_of_a_post(tokens):
    return (
        "POST /v1/suites HTTP/1.1\r\nHost: registry\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {tokens['admin']}\r\nContent-Length: 9000\r\n\r\n"
    ).encode()


def test_a_body_that_stops_coming_is_waited_for_a_while(impatient, tokens):
    with opened(impatient) as connection:
        connection.sendall(head_of_a_post(tokens) + b'{"name":')
        answer = heard(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"/problems/request-timeout" in answer


def test_a_body_that_trickles_is_not_waited_for(impatient, tokens):
    with opened(impatient) as connection:
        connection.sendall(head_of_a_post(tokens))
        start = clock.monotonic()
        connection.settimeout(0.1)
        answer = b""
        while not answer and clock.monotonic() - start < 5:
            connection.sendall(b" ")
            try:
                answer = connection.recv(1 << 16)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_long_answer_is_no_slow_request(impatient, tokens):
    """Once its body is there, a request may take as long as it needs."""
    with opened(impatient) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: registry\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a"], ids=["nothing", "half"])
def test_a_head_that_does_not_come_is_not_waited_for(impatient, sent):
    with opened(impatient) as connection:
        connection.sendall(sent)
        answer = heard(connection)
    assert answer.startswith(b"HTTP/1.1 408 ") if sent else answer == b""


def test_the_next_head_on_a_connection_has_its_own_time(impatient):
    with opened(impatient) as connection:
        for _ in range(3):
            clock.sleep(0.2)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: registry\r\n\r\n")
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET /healthz HT")
        assert heard(connection).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"X: " + b"x" * 4000 + b"\r\n", id="many-lines"),
        pytest.param(b"x" * 4000, id="one-line"),
    ],
)
def test_a_head_without_end_is_not_read(url, line):
    with opened(url) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: registry\r\nX-First: ")
        answer = b""
        with suppress(OSError):  # it hangs up on what it has not read
            for _ in range(1000):
                connection.sendall(line)
        with suppress(ConnectionError):
            answer = connection.recv(1 << 16)
    assert answer[:13] in {b"", b"HTTP/1.1 431 "}


def test_a_complete_head_that_is_too_large_is_refused_with_a_reason(url):
    head = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    with opened(url) as connection:
        connection.sendall(head + b"X: " + b"x" * 40_000 + b"\r\n\r\n")
        answer = heard(connection)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in answer


def test_what_is_no_http_is_refused_as_a_problem(url):
    with opened(url) as connection:
        connection.sendall(b"HELLO\r\n\r\n")
        answer = heard(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "/problems/malformed-request"


# Strictness


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        pytest.param("chanel=staging", "unknown-parameter", id="unknown"),
        pytest.param("channel=staging&channel=production", "repeated-parameter", id="repeated"),
    ],
)
def test_a_parameter_that_would_be_ignored_is_refused(world, query, fault):
    """A mistyped channel would be answered with what `production` serves."""
    world.a_live_version()
    response = world.call("GET", f"/v1/resolve/{world.prefix}?{query}", by="reader")
    assert (response.status_code, code(response)) == (422, "invalid-request")
    assert [each["code"] for each in response.json()["faults"]] == [fault]


def test_parameters_are_checked_below_v1_alone(world):
    world.a_live_version()
    for path in ("/healthz?x=1", f"/api/models/{world.prefix}?expand=siblings&expand=sha"):
        assert world.call("GET", path, by="reader").status_code == 200


@pytest.mark.parametrize("at", ["0.5", "1700000000", "2026-01-31", "2026-01-31T12:00:00"])
def test_a_time_is_a_date_with_an_hour_and_an_offset(world, at):
    world.a_version()
    world.a_channel()
    path = f"{world.path}/channels/production/history"
    response = world.call("GET", path, by="publisher", params={"at": at})
    assert (response.status_code, code(response)) == (422, "invalid-request")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("a\u202eb", id="right-to-left-override"),
        pytest.param("a\u200bb", id="zero-width-space"),
        pytest.param("a\u2028b", id="line-separator"),
        pytest.param("a\nb", id="line-end"),
        pytest.param("cafe\u0301", id="not-nfc"),
        pytest.param(" a", id="space-before"),
        pytest.param("\u00a0", id="blank"),
    ],
)
def test_a_name_that_could_pass_for_another_is_refused(world, name):
    world.a_suite()
    harness = {"name": name, "version": "1"}
    response = world.evaluate(world.a_version(), harness=harness)
    assert (response.status_code, code(response)) == (422, "invalid-request"), response.text
    assert "harness.name" in response.json()["detail"]


@pytest.mark.parametrize("name", ["Jos\u00e9", "\u0430dmin", "a b", "a\u202eb", "a\n"])
def test_principals_suites_and_personas_are_named_in_ascii(world, name):
    principal = {"name": name, "kind": "human"}
    for path, body in (
        ("/v1/principals", principal),
        ("/v1/suites", a_suite(name=name)),
        ("/v1/suites", a_suite(personas=[name])),
    ):
        response = world.call("POST", path, by="admin", json=body)
        assert (response.status_code, code(response)) == (422, "invalid-request")


@pytest.mark.parametrize("reason", ["", " ", "\n\t", "\u00a0\u2003" * 20, "a\u202eb" * 10])
def test_a_reason_must_say_something(world, reason):
    version = world.a_live_version()
    promotion = world.request(world.an_evaluated_version(seed=1)).json()
    evaluation = world.evaluate(version).json()
    refused = [
        world.revoke(version, reason=reason),
        world.void(evaluation, reason=reason),
        world.request(version, reason=reason),
        world.break_glass(promotion, reason=reason),
        world.review(promotion, by="approver-1", verdict="reject", comment=reason),
        world.call(
            "POST",
            f"{world.path}/channels/production/rollback",
            by="approver-1",
            json={"generation": 1, "reason": reason},
        ),
    ]
    assert {(each.status_code, code(each)) for each in refused} == {(422, "invalid-request")}


def test_json_with_two_meanings_is_refused(world):
    headers = {"Content-Type": "application/json"}
    body = '{"principal": "reader", "principal": "admin"}'
    response = world.call("POST", "/v1/tokens", by="admin", content=body, headers=headers)
    assert (response.status_code, code(response)) == (400, "malformed-request")
    assert "principal" in response.json()["detail"]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_is_not_said_to_be_json_is_not_read_as_json(world, kind):
    response = world.call(
        "POST",
        "/v1/suites",
        by="admin",
        content=json.dumps(a_suite()),
        headers={"Content-Type": kind},
    )
    assert (response.status_code, code(response)) == (415, "unsupported-media-type")


def test_a_json_body_beyond_its_limit_is_refused(world):
    body = a_suite() | {"padding": "x" * (1 << 16)}
    response = world.call("POST", "/v1/suites", by="admin", json=body)
    assert (response.status_code, code(response)) == (413, "too-large")
