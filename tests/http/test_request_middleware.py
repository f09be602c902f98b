"""Request ids, response headers, and failures that reveal no secret."""

import json
import logging
import re
import threading
import uuid

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError
from starlette.requests import Request
from starlette.responses import StreamingResponse

from app.db.session import sessions_on
from app.http.problems import database_failed
from app.http.request_ids import RequestIds
from app.http.request_middleware import RequestMiddleware, TransferBrokenError
from app.main import app_of
from tests.support.blobs import MemoryBlobs
from tests.support.builders import a_suite, code
from tests.support.racing import at_once, run_in_thread
from tests.support.session.in_process import InProcessClient

CANARY = "canary-4b1d-hunter2"


# Ids


def test_a_response_has_the_request_id_of_the_client(client):
    given = "trace.1-A_b"
    response = client.get("/healthz", headers={"X-Request-Id": given})
    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\tb", "<b>", "a,b"])
def test_a_malformed_request_id_is_replaced(client, given):
    response = client.get("/healthz", headers={"X-Request-Id": given})
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


def test_every_kind_of_response_has_its_own_request_id(world, world_on):
    world.a_live_version()
    responses = [
        world.client.get("/v1/prefixes"),
        world.client.get("/nowhere"),
        world.client.delete("/v1/prefixes"),
        world.client.get("/api/models/a/b"),
        world.call("POST", "/v1/suites", by="admin", headers={"Idempotency-Key": ""}),
        failing(world, world_on),
    ]
    assert [each.status_code for each in responses] == [401, 404, 405, 401, 400, 500]
    assert len({each.headers["x-request-id"] for each in responses}) == len(responses)


# Headers


@pytest.mark.parametrize("path", ["/v1/prefixes", "/healthz", "/nowhere", "/api/models/a/b"])
def test_a_response_has_security_headers(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "strict-transport-security" not in headers


def test_a_response_with_an_etag_may_be_cached_privately(world):
    world.a_version()
    world.a_channel()
    response = world.call("GET", f"{world.path}/channels/production", by="publisher")
    assert response.headers["cache-control"] == "private, no-cache"


def test_hsts_is_sent_if_it_is_configured(parts):
    with InProcessClient(app_of(parts, hsts_max_age_s=31_536_000)) as client:
        headers = client.get("/healthz").headers
    assert headers["strict-transport-security"] == "max-age=31536000"


# Failures


class BrokenBlobs(MemoryBlobs):
    """A store whose errors contain secrets."""

    def presigned_url(self, digest, *, file_name, lifetime_s):
        raise RuntimeError(f"SELECT password -- {CANARY}") from OSError(CANARY)


def failing(world, world_on, **headers):
    """Send a request that fails inside the registry."""
    broken = world_on(blobs=BrokenBlobs())
    path, query = f"/v1/resolve/{world.prefix}", {"unit": CANARY}
    return broken.call("GET", path, by="reader", params=query, headers=headers)


def test_a_failure_reveals_its_place_in_the_code_and_nothing_else(world, world_on, caplog):
    world.a_live_version()

    response = failing(world, world_on, **{"X-Request-Id": "of-this-failure"})

    assert (response.status_code, code(response)) == (500, "internal-error")
    assert "RuntimeError at " in caplog.text
    assert "resolve.py:" in caplog.text
    assert "after OSError" in caplog.text
    for output in (caplog.text, response.text, str(response.headers)):
        for secret in (CANARY, "SELECT", "Traceback", "prg_"):
            assert secret not in output


def test_a_refused_statement_is_not_revealed(world, world_on, stores, caplog):
    """A table without its columns breaks the registry; the log contains no statement and no row."""
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
    for output in (caplog.text, response.text):
        for secret in (CANARY, "SELECT", "suite.", "prg_"):
            assert secret not in output


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
    """Make two transactions wait for each other; return the error that one of them gets."""
    names = [f"deadlock-{uuid.uuid4().hex}" for _ in range(2)]
    both_hold_one = threading.Barrier(2, timeout=30)
    take = text("SELECT pg_advisory_xact_lock(hashtext(:name))")

    def lock(first, second):
        with engine.connect() as connection:
            connection.execute(take, {"name": first})
            both_hold_one.wait()
            try:
                connection.execute(take, {"name": second})
            except DBAPIError as error:
                return error
        return None

    first, second = at_once(lambda: lock(*names), lambda: lock(*reversed(names)))
    return first or second


def a_lock_timeout(engine):
    with engine.connect() as holder, engine.connect() as other:
        holder.execute(text("LOCK TABLE idempotency_record IN ACCESS EXCLUSIVE MODE NOWAIT"))
        other.execute(text("SET lock_timeout = 50"))
        with pytest.raises(OperationalError) as refused:
            other.execute(text("SELECT 1 FROM idempotency_record"))
    return refused.value


@pytest.mark.parametrize("provoke", [a_deadlock, a_lock_timeout])
def test_a_request_that_loses_against_others_can_be_retried(stores, tokens, provoke):
    engine = create_engine(stores.postgres.owner_url)
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": []})
    response = database_failed(request, provoke(engine))
    engine.dispose()
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert "A concurrent request changes" in json.loads(response.body)["detail"]


def test_a_connection_lost_while_writing_leaves_the_outcome_open(engine):
    """The server cannot know whether the commit succeeded, and the message says so."""
    with engine.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(OperationalError) as lost:
            connection.execute(text("SELECT 1"))

    def detail(method):
        request = Request({"type": "http", "method": method, "path": "/", "headers": []})
        return json.loads(database_failed(request, lost.value).body)["detail"]

    assert "may have taken effect" in detail("POST")
    assert "may have taken effect" not in detail("GET")


REQUEST_ID = "of-this-transfer"


async def breaks_off(scope, receive, send):
    """Send the beginning of a body, then fail."""

    async def chunks():
        yield b"the first bytes"
        raise OSError("the store went away")

    await StreamingResponse(chunks())(scope, receive, send)


async def fails_at_once(_scope, _receive, _send):
    raise OSError("the store is away")


def a_request():
    return {
        "type": "http",
        "method": "GET",
        "path": "/file",
        "query_string": b"",
        "headers": [(b"host", b"registry"), (b"x-request-id", REQUEST_ID.encode())],
        "asgi": {"spec_version": "2.4"},
    }


def sent_by(app):
    """Return the types of the messages that were sent, and the failure that a server sees."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message["type"])

    try:
        run_in_thread(RequestMiddleware(app)(a_request(), receive, send))
    except TransferBrokenError as error:
        return sent, error
    return sent, None


@pytest.fixture
def logged():
    """The lines of the application's log, each with the id of its request."""
    lines = []
    handler = logging.Handler()
    handler.addFilter(RequestIds())
    handler.emit = lambda record: lines.append((record.request_id, record.getMessage()))
    logger = logging.getLogger("app")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def test_a_failure_after_the_first_byte_sends_no_second_response(logged):
    sent, failure = sent_by(breaks_off)
    assert sent == ["http.response.start", "http.response.body"]
    assert str(failure) == REQUEST_ID


def test_the_log_names_the_request_whose_transfer_broke(logged):
    sent_by(breaks_off)
    ((request_id, message),) = logged
    assert request_id == REQUEST_ID
    assert "OSError at " in message


def test_a_failure_before_the_first_byte_is_answered():
    sent, failure = sent_by(fails_at_once)
    assert sent == ["http.response.start", "http.response.body"]
    assert failure is None
