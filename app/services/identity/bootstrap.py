"""The first principals and tokens, which the server's own CLI creates."""

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta

from app.db import audit
from app.db.principals import has_principals, principal_named
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

    The principal and its token are created in one transaction under the lock of the registry's
    chain, so that only one of two concurrent attempts succeeds.

    Raises:
        AlreadyExistsError: An admin, or a principal with this name, already exists.
    """
    every = {Grant(Role.ADMIN, EVERYWHERE), *grants}
    with sessions.begin() as session:
        audit.lock_chain(session, REGISTRY)
        if has_principals(session, Role.ADMIN, EVERYWHERE):
            raise AlreadyExistsError("The registry has an admin already, who can issue tokens.")
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
    """Create a principal, unless the name exists; an existing principal is left unchanged.

    Raises:
        AlreadyExistsError: A name that differs by case only exists.
    """
    try:
        create_principal(sessions, name=name, kind=kind, grants=grants, caller=SYSTEM, now=now)
    except AlreadyExistsError:
        with sessions() as session:
            if principal_named(session, name) is None:
                raise


def ensure_token(
    sessions: Sessions, *, principal: str, known: str | None, lifetime: timedelta, now: datetime
) -> str:
    """Return `known` if it is a valid token of `principal`, and a new token otherwise."""
    if known is not None:
        with suppress(UnauthenticatedError):
            if authenticate(sessions, token=known, now=now).name == principal:
                return known
    _, token = issue_token(
        sessions, principal=principal, lifetime=lifetime, channels=None, caller=SYSTEM, now=now
    )
    return token
