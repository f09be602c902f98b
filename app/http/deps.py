"""FastAPI dependencies of endpoints: the caller, the time, sessions, stores and the prefix.

Dependencies that never block are `async`: FastAPI runs plain functions in a thread pool, and the
hand-off costs more than the work.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from app.db.circuit_breaker import CircuitBreaker
from app.db.clock import Clock
from app.db.session import Sessions
from app.domain.artifacts.quotas import DEFAULT_LIMITS, QuotaLimits
from app.domain.audit.checkpoints import Signer
from app.domain.errors import NotFoundError, UnauthenticatedError
from app.domain.identity import access
from app.domain.identity.tokens import has_prefix
from app.domain.naming import RESERVED_NAMESPACES, PrefixName, is_name, is_namespace
from app.http.limits import ConnectionLimits, InFlight, Limits, is_urgent
from app.http.shutdown import Shutdown
from app.oidc.issuers import Issuers
from app.services.artifacts.pulls import PullLog
from app.services.delivery.cache_loader import ReadThroughCache
from app.services.idempotency import IdempotentRequest
from app.services.identity.authentication import authenticate, authenticate_federated
from app.services.identity.token_usage import TokenUsage
from app.services.readiness import Readiness
from app.services.transactions import Transactions
from app.services.turns import Turns
from app.storage.blobs import Blobs
from app.storage.staging import Staging


@dataclass(frozen=True, slots=True)
class Parts:
    """The objects that `create_app` wires and all requests share."""

    sessions: Sessions
    blobs: Blobs
    staging: Staging
    limits: Limits
    expected_revision: str
    uses: TokenUsage
    issuers: Issuers
    signer: Signer | None = None
    quota: QuotaLimits = DEFAULT_LIMITS
    collect_interval: timedelta = timedelta(0)
    pulls: PullLog = field(default_factory=PullLog)
    cache: ReadThroughCache = field(default_factory=ReadThroughCache)
    clock: Clock = field(default_factory=Clock)
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    readiness: Readiness = field(default_factory=Readiness)
    turns: Turns = field(default_factory=Turns)
    in_flight: InFlight = field(default_factory=InFlight)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    shutdown: Shutdown = field(default_factory=Shutdown)

    async def time(self) -> datetime:
        """Return the registry's time, without a query unless it is the first one."""
        if not self.clock.is_measured:
            await run_in_threadpool(self.clock.measure, self.sessions)
        return self.clock.now()


_bearer = HTTPBearer(
    auto_error=False, description="An API token, `prg_...`, or a token of a configured issuer."
)


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsDep = Annotated[Parts, Depends(_parts)]


# The scope key of a request's IdempotentRequest; absent without an idempotency key.
IDEMPOTENT_REQUEST: Final = "registry.exchange"
# The scope key of a request's authenticated caller.
CALLER: Final = "registry.caller"


def idempotent_request_of(request: Request) -> IdempotentRequest | None:
    idempotent: IdempotentRequest | None = request.scope.get(IDEMPOTENT_REQUEST)
    return idempotent


async def _sessions(request: Request, parts: PartsDep) -> Sessions:
    idempotent = idempotent_request_of(request)
    return parts.sessions if idempotent is None else idempotent.sessions


async def _blobs(parts: PartsDep) -> Blobs:
    return parts.blobs


async def _staging(parts: PartsDep) -> Staging:
    return parts.staging


async def _limits(parts: PartsDep) -> Limits:
    return parts.limits


async def _quota(parts: PartsDep) -> QuotaLimits:
    return parts.quota


async def _signer(parts: PartsDep) -> Signer | None:
    return parts.signer


async def _issuers(parts: PartsDep) -> Issuers:
    return parts.issuers


async def _request_time(parts: PartsDep) -> datetime:
    """Return the time of a request, for what it reads; its changes happen at their own time."""
    return await parts.time()


SessionsDep = Annotated[Sessions, Depends(_sessions)]
BlobsDep = Annotated[Blobs, Depends(_blobs)]
StagingDep = Annotated[Staging, Depends(_staging)]
IssuersDep = Annotated[Issuers, Depends(_issuers)]
LimitsDep = Annotated[Limits, Depends(_limits)]
QuotaDep = Annotated[QuotaLimits, Depends(_quota)]
SignerDep = Annotated[Signer | None, Depends(_signer)]
Now = Annotated[datetime, Depends(_request_time)]


async def _caller(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    parts: PartsDep,
    now: Now,
) -> access.Caller:
    if credentials is None:
        raise UnauthenticatedError("Send an API token as `Authorization: Bearer prg_...`.")
    caller = await _authenticated(credentials.credentials, parts, now)
    parts.in_flight.enter(request.scope, caller.id)
    if (namespace := _busy_namespace(request, caller)) is not None:
        parts.in_flight.enter_namespace(request.scope, namespace)
    request.scope[CALLER] = caller
    if idempotent := idempotent_request_of(request):
        idempotent.set_caller(caller.id, now)
    return caller


def _busy_namespace(request: Request, caller: access.Caller) -> str | None:
    """Return the namespace in which a request counts, if any.

    Callers without a grant on it do not count, since they could keep others out. Neither do
    requests about the namespace itself, which may raise its limit, nor urgent ones.
    """
    named: str | None = request.path_params.get("namespace")
    if named is None or "name" not in request.path_params or is_urgent(request.scope):
        return None
    return named if caller.roles(named) else None


async def _authenticated(token: str, parts: Parts, now: datetime) -> access.Caller:
    """Return the token's caller, from the cache if it is current, otherwise from the database."""
    if parts.issuers and not has_prefix(token):
        return await run_in_threadpool(
            authenticate_federated, parts.sessions, parts.issuers, token=token, now=now
        )
    hashed = await parts.cache.prepare_token(parts.sessions, token)
    if known := parts.cache.token(hashed, now, parts.uses):
        return known.caller
    found = await run_in_threadpool(authenticate, parts.sessions, token=token)
    parts.uses.note(found, now)
    return found.caller


Caller = Annotated[access.Caller, Depends(_caller)]


def transactions_of(request: Request, parts: Parts, caller: access.Caller) -> Transactions:
    """Return a caller's transactions in a request, which may be idempotent."""
    return Transactions(parts.sessions, caller, idempotent_request_of(request), parts.turns)


async def _transactions(request: Request, parts: PartsDep, caller: Caller) -> Transactions:
    return transactions_of(request, parts, caller)


TransactionsDep = Annotated[Transactions, Depends(_transactions)]


async def _prefix(namespace: str, name: str) -> PrefixName:
    """Return the prefix that the path names; 404 if it is no valid name."""
    prefix = PrefixName(namespace, name)
    if not (is_name(namespace) and is_name(name)):
        raise NotFoundError("There is no prefix of that name.")
    return prefix


async def _namespace(namespace: str) -> str:
    """Return the namespace that the path names; 404 if there can be none of that name."""
    if namespace in RESERVED_NAMESPACES or not is_namespace(namespace):
        raise access.not_found("namespace", namespace[:80])
    return namespace


NamespacePath = Annotated[str, Depends(_namespace)]
PrefixPath = Annotated[PrefixName, Depends(_prefix)]
