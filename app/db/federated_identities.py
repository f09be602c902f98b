"""Federated identity queries: finding the principals to which an issuer's claims are bound."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import FederatedIdentityRow, Principal, RoleGrant
from app.domain.identity.access import Caller, Grant, PrincipalKind
from app.domain.identity.oidc import Claim, FederatedIdentity


def callers_of(
    session: Session, issuer: str, kind: PrincipalKind, claims: Mapping[str, Claim]
) -> Sequence[Caller]:
    """Return the principals of `kind` that match the claims of a verified token, in one query.

    The JSON containment finds candidates; the domain decides which of them match.
    """
    statement = (
        select(Principal, FederatedIdentityRow.claims, RoleGrant.role, RoleGrant.namespace)
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
    for principal, wanted, role, namespace in session.execute(statement):
        if FederatedIdentity(issuer, wanted).matches(claims):
            without_grants = Caller(principal.id, principal.name, principal.kind, frozenset())
            known = found.get(principal.id, without_grants)
            more = frozenset() if role is None else frozenset({Grant(role, namespace)})
            found[principal.id] = replace(known, grants=known.grants | more)
    return list(found.values())


def lock_identity(
    session: Session, principal_id: UUID, issuer: str, claims: Mapping[str, Claim]
) -> FederatedIdentityRow | None:
    """Return a principal's federated identity that these claims match, locked against deletion."""
    statement = select(FederatedIdentityRow).where(
        FederatedIdentityRow.principal_id == principal_id,
        FederatedIdentityRow.issuer == issuer,
        FederatedIdentityRow.claims.contained_by(claims),
    )
    found = session.scalars(statement.with_for_update(read=True, key_share=True)).all()
    return next(
        (row for row in found if FederatedIdentity(issuer, row.claims).matches(claims)), None
    )


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
