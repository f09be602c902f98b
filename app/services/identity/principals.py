"""Principals: how somebody comes to act, with which grants, and how that ends."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from app.db import audit
from app.db.federated_identities import holder_of
from app.db.models import FederatedIdentityRow, Principal, RoleGrant
from app.db.principals import lock_principal, principal_named
from app.db.session import Sessions
from app.db.tokens import revoke_tokens
from app.db.web_sessions import forget_opened_by
from app.domain.audit.chain import REGISTRY, Facts, audit_event
from app.domain.errors import (
    AlreadyExistsError,
    Fault,
    InvalidRequestError,
    PrincipalDeactivatedError,
    UnknownReferenceError,
)
from app.domain.identity.access import EVERYWHERE, Caller, Grant, PrincipalKind, Role, nothing_named
from app.domain.identity.oidc import FederatedIdentity
from app.domain.naming import Json
from app.oidc.issuers import Issuers


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
    principal.grants, principal.identities = _rows(grants), []
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


def set_identities(
    sessions: Sessions,
    issuers: Issuers,
    *,
    name: str,
    identities: Sequence[FederatedIdentity],
    caller: Caller,
    now: datetime,
) -> Principal:
    """Replace all identities of a principal: whose tokens of other issuers mean it.

    Raises:
        ForbiddenError: The caller is no admin of the whole registry.
        NotFoundError: There is no such principal.
        PrincipalDeactivatedError: It no longer acts.
        UnknownReferenceError: An issuer is not configured.
        InvalidRequestError: An issuer's tokens speak for principals of another kind.
        AlreadyExistsError: An identity is another principal's.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        principal = lock_active(session, name)
        for identity in identities:
            _require_bindable(session, issuers, identity, principal)
        kept = [row for row in principal.identities if _identity(row) in identities]
        forget_opened_by(session, [row for row in principal.identities if row not in kept])
        held = [_identity(row) for row in kept]
        principal.identities = kept + [
            FederatedIdentityRow(each.issuer, dict(each.claims))
            for each in identities
            if each not in held
        ]
        listed: list[Json] = [
            {"issuer": each.issuer, "claims": dict(each.claims)} for each in identities
        ]
        record(session, "identities.set", facts_of(principal) | {"identities": listed}, caller, now)
        return principal


def _require_bindable(
    session: Session, issuers: Issuers, identity: FederatedIdentity, principal: Principal
) -> None:
    if identity.issuer not in issuers:
        message = f"There is no issuer {identity.issuer} in the server's configuration."
        raise UnknownReferenceError(message)
    kind = issuers[identity.issuer].kind
    if kind is not principal.kind:
        message = f"{identity.issuer} speaks for a {kind}, and {principal.name} is none."
        raise InvalidRequestError(message, [Fault("identity-kind", message)])
    holder = holder_of(session, identity)
    if holder is not None and holder.id != principal.id:
        message = f"These claims of {identity.issuer} mean {holder.name} already."
        raise AlreadyExistsError(message)


def _identity(row: FederatedIdentityRow) -> FederatedIdentity:
    return FederatedIdentity(row.issuer, row.claims)


def deactivate(sessions: Sessions, *, name: str, caller: Caller, now: datetime) -> None:
    """Stop a principal for good: it loses grants, tokens and identities, and what it did stays.

    Doing so again changes nothing. The name stays taken, so that the record has one meaning.

    Raises:
        ForbiddenError: The caller is no admin of the whole registry.
        NotFoundError: There is no such principal.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        principal = _lock(session, name)
        if principal.deactivated_at is not None:
            return
        forget_opened_by(session, principal.identities)
        principal.deactivated_at = now
        principal.grants = []
        principal.identities = []
        facts = facts_of(principal) | {"tokens": revoke_tokens(session, principal.id, now)}
        record(session, "principal.deactivate", facts, caller, now)


def lock_active(session: Session, name: str) -> Principal:
    """Return a principal, locked.

    Raises:
        NotFoundError: There is none of that name.
        PrincipalDeactivatedError: It no longer acts.
    """
    principal = _lock(session, name)
    if principal.deactivated_at is not None:
        since = principal.deactivated_at.isoformat()
        message = f"{name} was deactivated at {since}, for good; make another principal."
        raise PrincipalDeactivatedError(message)
    return principal


def _lock(session: Session, name: str) -> Principal:
    audit.lock_chain(session, REGISTRY)
    principal = lock_principal(session, name)
    if principal is None:
        raise nothing_named("principal", name)
    return principal


def facts_of(principal: Principal) -> dict[str, Json]:
    return {"principal": principal.name, "principal_id": str(principal.id)}


def record(session: Session, action: str, facts: Facts, caller: Caller, now: datetime) -> None:
    audit.append(session, audit_event(REGISTRY, action, facts, caller=caller, now=now))


def _rows(grants: Collection[Grant]) -> list[RoleGrant]:
    return [RoleGrant(grant.role, grant.namespace) for grant in sorted(set(grants))]


def _listed(grants: Collection[Grant]) -> list[Json]:
    return [{"role": grant.role.value, "namespace": grant.namespace} for grant in sorted(grants)]
