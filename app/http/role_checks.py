"""Role checks before the body is read: as much of the use case's check as the path allows."""

from collections.abc import Callable

from fastapi import Request, params
from starlette.concurrency import run_in_threadpool

from app.domain.artifacts.quotas import Stored
from app.domain.errors import ForbiddenError
from app.domain.identity.access import EVERYWHERE, Role, not_found
from app.http.bodies import OVERHEAD_BYTES, announced_bytes, media_type
from app.http.deps import (
    Caller,
    LimitsDep,
    NamespacePath,
    PrefixPath,
    QuotaDep,
    TransactionsDep,
    idempotent_request_of,
)
from app.services.artifacts.quotas import require_room


def needs(role: Role, *others: Role) -> params.Depends:
    """Require `role`, or one of `others`, on the namespace of the prefix in the path."""

    async def check(prefix: PrefixPath, caller: Caller) -> None:
        if caller.roles(prefix.namespace).isdisjoint(others):
            caller.require(role, prefix)

    return params.Depends(check)


def needs_room() -> params.Depends:
    """Refuse a push that cannot fit into the quota of its namespace, before its body is read.

    The announced size of a multipart body, less all that is not stored, is a lower bound; any
    other push adds at least one byte. The answer to a retry is sent again even if nothing fits.
    """

    async def check(
        request: Request,
        prefix: PrefixPath,
        transactions: TransactionsDep,
        limits: LimitsDep,
        quota: QuotaDep,
    ) -> None:
        idempotent = idempotent_request_of(request)
        if idempotent is not None and await run_in_threadpool(idempotent.has_stored_response):
            return
        size_bytes = 1
        if media_type(request) == "multipart/form-data":
            not_stored = limits.metadata_bytes + OVERHEAD_BYTES
            size_bytes = max(size_bytes, announced_bytes(request) - not_stored)
        added = Stored(size_bytes, versions=1)
        await run_in_threadpool(require_room, transactions, prefix.namespace, added, quota)

    return params.Depends(check)


def needs_everywhere(role: Role) -> params.Depends:
    """Require `role` on every namespace."""
    return _needs(lambda caller: caller.require_in(role, EVERYWHERE))


def needs_work_in() -> params.Depends:
    """Respond 404 to callers who hold no working role on the namespace in the path."""

    async def check(namespace: NamespacePath, caller: Caller) -> None:
        if not caller.can_see_unreleased(namespace):
            raise not_found("namespace", namespace)

    return params.Depends(check)


def needs_somewhere(role: Role) -> params.Depends:
    """Require `role` on some namespace; the body says which one the request needs."""
    return _needs(lambda caller: caller.require_anywhere(role))


def needs_work() -> params.Depends:
    """Require the role publisher, evaluator, approver or admin on some namespace."""
    return _needs(lambda caller: caller.require_working_role())


def needs_visibility_of(kind: str) -> params.Depends:
    """Respond 404 to callers whose roles can never see objects of this kind."""

    async def check(request: Request, caller: Caller) -> None:
        try:
            caller.require_participant()
        except ForbiddenError as error:
            (name,) = request.path_params.values()
            raise not_found(kind, str(name)) from error

    return params.Depends(check)


def _needs(require: Callable[[Caller], None]) -> params.Depends:
    async def check(caller: Caller) -> None:
        require(caller)

    return params.Depends(check)
