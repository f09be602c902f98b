"""Principal queries: principals, grants, federated identities, logins, approvers of namespaces."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, selectinload

from app.db.clock import present_time
from app.db.models import FederatedIdentityRow, LoginAttempt, Principal, RoleGrant
from app.db.paging import Page, PageRequest, page_of
from app.domain.governance.approvals import Reviewer
from app.domain.identity.access import EVERYWHERE, Caller, Grant, PrincipalKind, Role
from app.domain.identity.credentials import FederatedCredential
from app.domain.identity.oidc import Claim, FederatedIdentity

_ALL_RELATIONS: Final = (selectinload(Principal.grants), selectinload(Principal.identities))


def principal_named(session: Session, name: str) -> Principal | None:
    statement = select(Principal).where(Principal.name == name)
    return session.scalars(statement.options(*_ALL_RELATIONS)).one_or_none()


def principal_spelled_like(session: Session, name: str) -> Principal | None:
    """Return the principal with this name, or with one that differs by case only."""
    return session.scalars(
        select(Principal).where(func.lower(Principal.name) == name.lower())
    ).one_or_none()


def principals_page(session: Session, request: PageRequest) -> Page[Principal]:
    """Return all principals, including deactivated ones, ordered by name."""
    return page_of(session, select(Principal).options(*_ALL_RELATIONS), [Principal.name], request)


def lock_principal(session: Session, name: str) -> Principal | None:
    """Return the principal with its row locked; rows that refer to it can still be inserted."""
    lock = select(Principal).where(Principal.name == name).with_for_update(key_share=True)
    fresh = lock.options(*_ALL_RELATIONS).execution_options(populate_existing=True)
    return session.scalars(fresh).one_or_none()


def has_principals(session: Session, role: Role, namespace: str) -> bool:
    """Return whether any principal has a grant of `role` on exactly `namespace`."""
    held = select(RoleGrant.id).where(RoleGrant.role == role, RoleGrant.namespace == namespace)
    return session.scalars(held.limit(1)).one_or_none() is not None


def approvers_by_namespace(
    session: Session, namespaces: Collection[str]
) -> dict[str, list[Reviewer]]:
    """Return, for each namespace, the principals with the role approver on it."""
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
