"""Principal queries: principals, their grants, and the approvers of namespaces."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from app.db.models import Principal, RoleGrant
from app.db.paging import Page, PageRequest, page_of
from app.domain.governance.approvals import Reviewer
from app.domain.identity.access import EVERYWHERE, Role

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
