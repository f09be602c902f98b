"""The `Idempotency-Key` of a POST: the response is sent once it is committed with the changes."""

from collections.abc import Sequence
from typing import Final, cast

from sqlalchemy.exc import DBAPIError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.db.session import Sessions
from app.domain.errors import MalformedRequestError
from app.domain.idempotency import StoredResponse, key_of
from app.http.deps import IDEMPOTENT_REQUEST, Parts
from app.http.problems import database_failed, respond
from app.services.idempotency import IdempotentRequest

_NOT_REPLAYED: Final = {"content-length"}
_PAGES: Final = "/admin/"


class IdempotencyMiddleware:
    """Runs each POST with a key as an idempotent request and finishes it before responding."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        keys = _keys(scope)
        if not keys:
            await self._app(scope, receive, send)
            return
        try:
            idempotent = _idempotent_request(scope, keys)
        except MalformedRequestError as error:
            await respond(error)(scope, receive, send)
            return
        scope[IDEMPOTENT_REQUEST] = idempotent
        held: list[Message] = []
        try:
            await self._app(scope, receive, _into(held))
            await run_in_threadpool(idempotent.finish, _stored_response(held))
        except DBAPIError as error:
            await run_in_threadpool(idempotent.abandon)
            await database_failed(Request(scope), error)(scope, receive, send)
        except BaseException:
            idempotent.abandon()
            raise
        else:
            for message in held:
                await send(message)


def _into(held: list[Message]) -> Send:
    async def hold(message: Message) -> None:
        held.append(message)

    return hold


def _keys(scope: Scope) -> Sequence[str]:
    if scope["type"] != "http" or scope["method"] != "POST":
        return ()
    return Headers(scope=scope).getlist("idempotency-key")


def _idempotent_request(scope: Scope, keys: Sequence[str]) -> IdempotentRequest:
    if scope["path"].startswith(_PAGES):
        raise MalformedRequestError("Forms of the pages take no Idempotency-Key.")
    if len(keys) > 1:
        raise MalformedRequestError("Send one Idempotency-Key, not several.")
    parts: Parts = scope["app"].state.parts
    sessions: Sessions = parts.sessions
    query = scope["query_string"].decode("latin-1")
    return IdempotentRequest(sessions, key_of(keys[0]), (scope["method"], scope["path"], query))


def _stored_response(held: Sequence[Message]) -> StoredResponse:
    """Return the response to store, without its body if Cache-Control says `no-store`."""
    start = held[0]
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in start["headers"]
        if name.decode("latin-1") not in _NOT_REPLAYED
    }
    secret = "no-store" in headers.get("cache-control", "")
    body = b"".join(cast("bytes", message.get("body", b"")) for message in held[1:])
    return StoredResponse(start["status"], headers, None if secret else body)
