"""A failure after the first byte: the transfer breaks off, and the log names the request."""

import logging

import pytest
from starlette.responses import StreamingResponse

from app.http.request_ids import RequestIds
from app.http.request_middleware import RequestMiddleware, TransferBrokenError
from tests.support.racing import run_in_thread

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
