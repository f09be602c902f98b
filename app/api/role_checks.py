"""Who is let in before a body is read: as much of the use case's own check as the path tells."""

from collections.abc import Callable

from fastapi import Request, params

from app.domain.errors import ForbiddenError
from app.domain.identity.access import EVERYWHERE, Role, nothing_named
from app.http.deps import Caller, PrefixPath


def needs(role: Role, *others: Role) -> params.Depends:
    """Refuse whoever lacks `role`, and all of `others`, over the prefix in the path."""

    async def admit(prefix: PrefixPath, caller: Caller) -> None:
        if caller.roles(prefix.namespace).isdisjoint(others):
            caller.require(role, prefix)

    return params.Depends(admit)


def needs_everywhere(role: Role) -> params.Depends:
    """Refuse whoever lacks `role` over the whole registry."""
    return _needs(lambda caller: caller.require_in(role, EVERYWHERE))


def needs_somewhere(role: Role) -> params.Depends:
    """Refuse whoever lacks `role` over anything; over what, the body says."""
    return _needs(lambda caller: caller.require_anywhere(role))


def needs_work() -> params.Depends:
    """Refuse whoever neither publishes, evaluates, approves nor administers anything."""
    return _needs(lambda caller: caller.require_work())


def needs_visibility_of(kind: str) -> params.Depends:
    """Refuse whoever can see no thing of that kind as they would be if it did not exist."""

    async def admit(request: Request, caller: Caller) -> None:
        try:
            caller.require_some_part()
        except ForbiddenError as error:
            (name,) = request.path_params.values()
            raise nothing_named(kind, str(name)) from error

    return params.Depends(admit)


def _needs(check: Callable[[Caller], None]) -> params.Depends:
    async def admit(caller: Caller) -> None:
        check(caller)

    return params.Depends(admit)
