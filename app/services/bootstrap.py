"""The first principals and tokens, made by whoever can run the server's own commands."""

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta

from app.db.session import Sessions
from app.domain.access import SYSTEM, Grant, PrincipalKind
from app.domain.errors import AlreadyExistsError, UnauthenticatedError
from app.services.identity import authenticate, create_principal, issue_token


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
