"""Role checks before the body is read: as much of the use case's check as the path allows."""

from collections.abc import Callable

from fastapi import Request, params

from app.domain.errors import ForbiddenError
from app.domain.identity.access import EVERYWHERE, Role, not_found
from app.http.deps import Caller, PrefixPath


def needs(role: Role, *others: Role) -> params.Depends:
    """Require `role`, or one of `others`, on the namespace of the prefix in the path."""

    async def check(prefix: PrefixPath, caller: Caller) -> None:
        if caller.roles(prefix.namespace).isdisjoint(others):
            caller.require(role, prefix)

    return params.Depends(check)


def needs_everywhere(role: Role) -> params.Depends:
    """Require `role` on every namespace."""
    return _needs(lambda caller: caller.require_in(role, EVERYWHERE))


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
