"""Principals: how somebody comes to act, with which grants, and how that ends."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy.orm import Session

from app.db import audit
from app.db.models import Principal, RoleGrant
from app.db.principals import lock_principal, principal_named
from app.db.session import Sessions
from app.db.tokens import revoke_tokens
from app.domain.access import EVERYWHERE, Caller, Grant, PrincipalKind, Role, nothing_named
from app.domain.audit import REGISTRY, Facts, happened
from app.domain.errors import AlreadyExistsError, PrincipalDeactivatedError
from app.domain.identity import Json


def create_principal(
    sessions: Sessions,
    *,
    name: str,
    kind: PrincipalKind,
    grants: Collection[Grant],
    caller: Caller,
    now: datetime,
) -> Principal:
    """Create a person or a service, with what it may do.

    Raises:
        ForbiddenError: The caller is no admin of the whole registry.
        AlreadyExistsError: The name is taken.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        return add_principal(session, name, kind, grants, caller, now)


def add_principal(
    session: Session,
    name: str,
    kind: PrincipalKind,
    grants: Collection[Grant],
    caller: Caller,
    now: datetime,
) -> Principal:
    """Insert a principal and its audit entry, in the caller's transaction."""
    audit.lock_chain(session, REGISTRY)
    if principal_named(session, name) is not None:
        raise AlreadyExistsError(f"There is a principal {name} already.")
    principal = Principal(name, kind, now)
    principal.grants = _rows(grants)
    session.add(principal)
    session.flush()
    facts = facts_of(principal) | {"kind": kind.value, "grants": _listed(grants)}
    record(session, "principal.create", facts, caller, now)
    return principal


def set_grants(
    sessions: Sessions, *, name: str, grants: Collection[Grant], caller: Caller, now: datetime
) -> Principal:
    """Replace all grants of a principal.

    Raises:
        ForbiddenError: The caller is no admin of the whole registry.
        NotFoundError: There is no such principal.
        PrincipalDeactivatedError: It no longer acts.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        principal = lock_active(session, name)
        kept = [row for row in principal.grants if Grant(row.role, row.namespace) in grants]
        held = {Grant(row.role, row.namespace) for row in kept}
        principal.grants = kept + _rows(set(grants) - held)
        facts = facts_of(principal) | {"grants": _listed(grants)}
        record(session, "grants.set", facts, caller, now)
        return principal


def deactivate(sessions: Sessions, *, name: str, caller: Caller, now: datetime) -> None:
    """Stop a principal for good: it loses its grants and tokens, and what it did stays.

    Doing so again changes nothing. The name stays taken, so that the record has one meaning.

    Raises:
        ForbiddenError: The caller is no admin of the whole registry.
        NotFoundError: There is no such principal.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        principal = lock_principal(session, name)
        if principal is None:
            raise nothing_named("principal", name)
        if principal.deactivated_at is not None:
            return
        principal.deactivated_at = now
        principal.grants = []
        facts = facts_of(principal) | {"tokens": revoke_tokens(session, principal.id, now)}
        record(session, "principal.deactivate", facts, caller, now)


def lock_active(session: Session, name: str) -> Principal:
    """Return a principal, locked.

    Raises:
        NotFoundError: There is none of that name.
        PrincipalDeactivatedError: It no longer acts.
    """
    principal = lock_principal(session, name)
    if principal is None:
        raise nothing_named("principal", name)
    if principal.deactivated_at is not None:
        since = principal.deactivated_at.isoformat()
        message = f"{name} was deactivated at {since}, for good; make another principal."
        raise PrincipalDeactivatedError(message)
    return principal


def facts_of(principal: Principal) -> dict[str, Json]:
    return {"principal": principal.name, "principal_id": str(principal.id)}


def record(session: Session, action: str, facts: Facts, caller: Caller, now: datetime) -> None:
    audit.append(session, happened(REGISTRY, action, facts, caller=caller, now=now))


def _rows(grants: Collection[Grant]) -> list[RoleGrant]:
    return [RoleGrant(grant.role, grant.namespace) for grant in sorted(set(grants))]


def _listed(grants: Collection[Grant]) -> list[Json]:
    return [{"role": grant.role.value, "namespace": grant.namespace} for grant in sorted(grants)]
