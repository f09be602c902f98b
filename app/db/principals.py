"""Principals, grants and tokens: who holds what."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from app.db.models import ApiToken, Principal, RoleGrant
from app.domain.access import EVERYWHERE, Caller, Grant, Role
from app.domain.approvals import Reviewer
from app.domain.tokens import token_hash


def caller_by_token(session: Session, token: str, now: datetime) -> Caller | None:
    """Return who holds `token`, in one query; None if it is unknown, revoked or expired."""
    statement = (
        select(Principal, ApiToken.channels, RoleGrant.role, RoleGrant.namespace)
        .join(ApiToken, ApiToken.principal_id == Principal.id)
        .outerjoin(RoleGrant, RoleGrant.principal_id == Principal.id)
        .where(
            ApiToken.hash == token_hash(token),
            ApiToken.revoked_at.is_(None),
            ApiToken.expires_at > now,
        )
    )
    rows = session.execute(statement).all()
    if not rows:
        return None
    principal, channels = rows[0][0], rows[0][1]
    grants = frozenset(Grant(row.role, row.namespace) for row in rows if row.role is not None)
    limit = None if channels is None else frozenset(channels)
    return Caller(principal.id, principal.name, principal.kind, grants, limit)


def principal_named(session: Session, name: str) -> Principal | None:
    statement = select(Principal).where(Principal.name == name)
    return session.scalars(statement.options(selectinload(Principal.grants))).one_or_none()


def lock_principal(session: Session, name: str) -> Principal | None:
    """Return the principal with its row locked, but not against rows that refer to it."""
    lock = select(Principal).where(Principal.name == name).with_for_update(key_share=True)
    return session.scalars(lock.options(selectinload(Principal.grants))).one_or_none()


def lock_token(session: Session, token_id: UUID) -> ApiToken | None:
    return session.get(ApiToken, token_id, with_for_update=True)


def approvers_by_namespace(
    session: Session, namespaces: Collection[str]
) -> dict[str, list[Reviewer]]:
    """Return, for each namespace, everybody who holds the approver's role over it."""
    statement = (
        select(Principal, RoleGrant.namespace)
        .join(RoleGrant)
        .where(
            RoleGrant.role == Role.APPROVER,
            RoleGrant.namespace.in_({*namespaces, EVERYWHERE}),
        )
    )
    found: dict[str, set[Reviewer]] = {namespace: set() for namespace in namespaces}
    for principal, scope in session.execute(statement):
        reviewer = Reviewer(principal.name, principal.id, principal.kind)
        for namespace in namespaces if scope == EVERYWHERE else (scope,):
            found[namespace].add(reviewer)
    return {namespace: sorted(reviewers) for namespace, reviewers in found.items()}
