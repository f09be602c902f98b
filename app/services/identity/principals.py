"""Creating principals, setting their grants and federated identities, and deactivating them."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from app.db import audit
from app.db.federated_identities import holder_of
from app.db.models import FederatedIdentityRow, Principal, RoleGrant
from app.db.principals import lock_principal, principal_spelled_like
from app.db.session import Sessions
from app.db.tokens import revoke_tokens
from app.db.web_sessions import delete_sessions_opened_by
from app.domain.audit.chain import REGISTRY, Facts, audit_event
from app.domain.errors import (
    AlreadyExistsError,
    Fault,
    InvalidRequestError,
    PrincipalDeactivatedError,
    UnknownReferenceError,
)
from app.domain.identity.access import EVERYWHERE, Caller, Grant, PrincipalKind, Role, not_found
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
    """Create a human or service principal with its grants.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        AlreadyExistsError: The name, or one that differs by case only, is taken.
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
    """Insert a principal and its audit entry, in the caller's transaction.

    Raises:
        AlreadyExistsError: The name, or one that differs by case only, is taken.
    """
    audit.lock_chain(session, REGISTRY)
    if (known := principal_spelled_like(session, name)) is not None:
        raise AlreadyExistsError(f"The principal {known.name} already exists; choose another name.")
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
        ForbiddenError: The caller is not an admin of the whole registry.
        NotFoundError: The principal does not exist.
        PrincipalDeactivatedError: The principal is deactivated.
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
    """Replace all federated identities of a principal.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        NotFoundError: The principal does not exist.
        PrincipalDeactivatedError: The principal is deactivated.
        UnknownReferenceError: An issuer is not configured.
        InvalidRequestError: An issuer is configured for principals of a different kind.
        AlreadyExistsError: A federated identity is bound to another principal.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        principal = lock_active(session, name)
        for identity in identities:
            _require_bindable(session, issuers, identity, principal)
        kept = [row for row in principal.identities if _identity(row) in identities]
        removed = [row for row in principal.identities if row not in kept]
        delete_sessions_opened_by(session, removed)
        held = [_identity(row) for row in kept]
        principal.identities = kept + [
            FederatedIdentityRow(identity.issuer, dict(identity.claims))
            for identity in identities
            if identity not in held
        ]
        listed: list[Json] = [
            {"issuer": identity.issuer, "claims": dict(identity.claims)} for identity in identities
        ]
        record(session, "identities.set", facts_of(principal) | {"identities": listed}, caller, now)
        return principal


def _require_bindable(
    session: Session, issuers: Issuers, identity: FederatedIdentity, principal: Principal
) -> None:
    if identity.issuer not in issuers:
        message = f"The issuer {identity.issuer} is not in the server's configuration."
        raise UnknownReferenceError(message)
    kind = issuers[identity.issuer].kind
    if kind is not principal.kind:
        message = (
            f"{identity.issuer} is configured for principals of the kind {kind}, but "
            f"{principal.name} is a {principal.kind}."
        )
        raise InvalidRequestError(message, [Fault("identity-kind", message)])
    holder = holder_of(session, identity)
    if holder is not None and holder.id != principal.id:
        message = f"These claims of {identity.issuer} are already bound to {holder.name}."
        raise AlreadyExistsError(message)


def _identity(row: FederatedIdentityRow) -> FederatedIdentity:
    return FederatedIdentity(row.issuer, row.claims)


def deactivate(sessions: Sessions, *, name: str, caller: Caller, now: datetime) -> None:
    """Deactivate a principal permanently: remove its grants, tokens and federated identities.

    Deactivating it again changes nothing. The name stays taken, so that audit entries remain
    unambiguous.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        NotFoundError: The principal does not exist.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        principal = _lock(session, name)
        if principal.deactivated_at is not None:
            return
        delete_sessions_opened_by(session, principal.identities)
        principal.deactivated_at = now
        principal.grants = []
        principal.identities = []
        facts = facts_of(principal) | {"tokens": revoke_tokens(session, principal.id, now)}
        record(session, "principal.deactivate", facts, caller, now)


def lock_active(session: Session, name: str) -> Principal:
    """Return a principal, locked.

    Raises:
        NotFoundError: The principal does not exist.
        PrincipalDeactivatedError: The principal is deactivated.
    """
    principal = _lock(session, name)
    if principal.deactivated_at is not None:
        since = principal.deactivated_at.isoformat()
        message = f"{name} was permanently deactivated at {since}; create another principal."
        raise PrincipalDeactivatedError(message)
    return principal


def _lock(session: Session, name: str) -> Principal:
    audit.lock_chain(session, REGISTRY)
    principal = lock_principal(session, name)
    if principal is None:
        raise not_found("principal", name)
    return principal


def facts_of(principal: Principal) -> dict[str, Json]:
    return {"principal": principal.name, "principal_id": str(principal.id)}


def record(session: Session, action: str, facts: Facts, caller: Caller, now: datetime) -> None:
    audit.append(session, audit_event(REGISTRY, action, facts, caller=caller, now=now))


def _rows(grants: Collection[Grant]) -> list[RoleGrant]:
    return [RoleGrant(grant.role, grant.namespace) for grant in sorted(set(grants))]


def _listed(grants: Collection[Grant]) -> list[Json]:
    return [{"role": grant.role.value, "namespace": grant.namespace} for grant in sorted(grants)]
