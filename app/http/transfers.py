"""Running transfers: broken off when their caller's authority or their version ends."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.db.clock import elapsed
from app.db.models import Version
from app.db.versions import version_numbered
from app.domain.delivery.cache_lease import LEASE_S
from app.domain.identity.access import Caller
from app.domain.naming import PrefixName
from app.http.deps import CALLER, Parts
from app.services.governance.execution import require_not_revoked
from app.services.identity.authentication import require_still_valid

_VERSION: Final = "registry.version"


@dataclass(frozen=True, slots=True)
class _SentVersion:
    id: UUID
    prefix: PrefixName
    number: int


def sends_version(scope: Scope, version: Version) -> None:
    """Break off the response of this request if `version` is revoked while it is sent."""
    scope[_VERSION] = _SentVersion(version.id, version.prefix.full_name, version.number)


class TransferMiddleware:
    """Checks again, between the parts of a body, that its transfer is still allowed.

    A body that arrives is refused like any other request; a response that has started is aborted.
    A check asks the database only if the caller or the version may have changed. Without a lease,
    when nothing tells of changes, it does so after `recheck_s`.
    """

    def __init__(self, app: ASGIApp, *, recheck_s: float = LEASE_S) -> None:
        self._app = app
        self._recheck_s = recheck_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        transfer = _Transfer(scope, self._recheck_s)

        async def receive_allowed() -> Message:
            message = await receive()
            await transfer.require_allowed()
            return message

        async def send_allowed(message: Message) -> None:
            if message.get("more_body"):
                await transfer.require_allowed()
            await send(message)

        try:
            await self._app(scope, receive_allowed, send_allowed)
        finally:
            transfer.end()


class _Transfer:
    def __init__(self, scope: Scope, recheck_s: float) -> None:
        self._scope = scope
        self._recheck_s = recheck_s
        self._parts: Parts = scope["app"].state.parts
        # Before the caller is authenticated, so no change after that is missed.
        self._epoch = self._parts.cache.channel_cache.epoch
        self._checked_at = elapsed()

    def end(self) -> None:
        self._parts.in_flight.leave(self._scope)

    async def require_allowed(self) -> None:
        """Check the transfer again, if it may have ended.

        Raises:
            UnauthenticatedError: The caller's credential has ended.
            NotFoundError: The caller's grants no longer cover the version.
            VersionRevokedError: The version was revoked.
        """
        caller: Caller | None = self._scope.get(CALLER)
        if caller is None or not self._may_have_ended(caller):
            return
        epoch, checked_at = self._parts.cache.channel_cache.epoch, elapsed()
        await run_in_threadpool(self._check, caller)
        self._epoch, self._checked_at = epoch, checked_at

    def _may_have_ended(self, caller: Caller) -> bool:
        cache, sent = self._parts.cache.channel_cache, self._scope.get(_VERSION)
        if not cache.is_current():
            return elapsed() - self._checked_at >= self._recheck_s
        about = [caller.id] if sent is None else [caller.id, sent.id]
        return cache.has_changed(about, self._epoch)

    def _check(self, caller: Caller) -> None:
        sent: _SentVersion | None = self._scope.get(_VERSION)
        with self._parts.sessions() as session:
            present = require_still_valid(session, caller)
            if sent is None:
                return
            present.require_visible(sent.prefix, unreleased=False)
            version = version_numbered(session, sent.prefix, sent.number)
            if version is not None:
                require_not_revoked(version)
