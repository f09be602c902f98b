"""Federated identity queries: the principals bound to an issuer's claims, and login attempts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.db.clock import present_time
from app.db.models import FederatedIdentityRow, LoginAttempt, Principal, RoleGrant
from app.domain.identity.access import Caller, Grant, PrincipalKind
from app.domain.identity.credentials import FederatedCredential
from app.domain.identity.oidc import Claim, FederatedIdentity


def callers_of(
    session: Session,
    issuer: str,
    kind: PrincipalKind,
    claims: Mapping[str, Claim],
    *,
    valid_until: datetime,
) -> Sequence[Caller]:
    """Return the principals of `kind` that match the claims of a verified token, in one query.

    The JSON containment finds candidates; the domain decides which of them match. The token is
    valid before `valid_until`.
    """
    statement = (
        select(Principal, FederatedIdentityRow, RoleGrant.role, RoleGrant.namespace)
        .join(FederatedIdentityRow, FederatedIdentityRow.principal_id == Principal.id)
        .outerjoin(RoleGrant, RoleGrant.principal_id == Principal.id)
        .where(
            FederatedIdentityRow.issuer == issuer,
            FederatedIdentityRow.claims.contained_by(claims),
            Principal.kind == kind,
            Principal.deactivated_at.is_(None),
        )
    )
    found: dict[UUID, Caller] = {}
    for principal, identity, role, namespace in session.execute(statement):
        if FederatedIdentity(issuer, identity.claims).matches(claims):
            held = FederatedCredential(identity.id, valid_until)
            without_grants = Caller(principal.id, principal.name, principal.kind, frozenset(), held)
            known = found.get(principal.id, without_grants)
            more = frozenset() if role is None else frozenset({Grant(role, namespace)})
            found[principal.id] = replace(known, grants=known.grants | more)
    return list(found.values())


def holder_of(session: Session, identity: FederatedIdentity) -> Principal | None:
    """Return the principal to which exactly this federated identity is bound."""
    statement = (
        select(Principal)
        .join(FederatedIdentityRow)
        .where(
            FederatedIdentityRow.issuer == identity.issuer,
            FederatedIdentityRow.claims == identity.claims,
        )
    )
    return session.scalars(statement).one_or_none()


def take_attempt(session: Session, *, state_hash: str, browser_hash: str) -> LoginAttempt | None:
    """Delete and return a login attempt of this browser; only one concurrent request gets it."""
    statement = (
        delete(LoginAttempt)
        .where(
            LoginAttempt.state_hash == state_hash,
            LoginAttempt.browser_hash == browser_hash,
        )
        .returning(LoginAttempt)
    )
    return session.scalars(statement).one_or_none()


def delete_expired_attempts(session: Session) -> None:
    session.execute(delete(LoginAttempt).where(LoginAttempt.expires_at <= present_time()))
