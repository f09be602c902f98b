"""The first principals and tokens, made by whoever can run the server's own commands."""

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta

from app.db import audit
from app.db.principals import has_principals
from app.db.session import Sessions
from app.domain.audit.chain import REGISTRY
from app.domain.errors import AlreadyExistsError, UnauthenticatedError
from app.domain.identity.access import EVERYWHERE, SYSTEM, Grant, PrincipalKind, Role
from app.services.identity.authentication import authenticate
from app.services.identity.principals import add_principal, create_principal
from app.services.identity.tokens import add_token, issue_token


def first_admin(
    sessions: Sessions,
    *,
    name: str,
    grants: Collection[Grant],
    lifetime: timedelta,
    now: datetime,
) -> str:
    """Create the first admin of the whole registry, with further grants; return its token, once.

    Principal and token are made together, under the lock of the registry's chain, so that of
    two who try at once one is refused.

    Raises:
        AlreadyExistsError: There is an admin already, or somebody of that name.
    """
    every = {Grant(Role.ADMIN, EVERYWHERE), *grants}
    with sessions.begin() as session:
        audit.lock_chain(session, REGISTRY)
        if has_principals(session, Role.ADMIN, EVERYWHERE):
            raise AlreadyExistsError("There is an admin already, who can issue every other token.")
        holder = add_principal(session, name, PrincipalKind.HUMAN, every, SYSTEM, now)
        _, token = add_token(session, holder, lifetime, None, SYSTEM, now)
        return token


def ensure_principal(
    sessions: Sessions,
    *,
    name: str,
    kind: PrincipalKind,
    grants: Collection[Grant],
    now: datetime,
) -> None:
    """Create a principal unless there is one of that name; its grants are then left alone."""
    with suppress(AlreadyExistsError):
        create_principal(sessions, name=name, kind=kind, grants=grants, caller=SYSTEM, now=now)


def ensure_token(
    sessions: Sessions, *, principal: str, known: str | None, lifetime: timedelta, now: datetime
) -> str:
    """Return `known` while it is a valid token of `principal`, else a new one."""
    if known is not None:
        with suppress(UnauthenticatedError):
            if authenticate(sessions, token=known, now=now).name == principal:
                return known
    _, token = issue_token(
        sessions, principal=principal, lifetime=lifetime, channels=None, caller=SYSTEM, now=now
    )
    return token
