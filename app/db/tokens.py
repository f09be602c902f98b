"""API token queries: validating, listing and revoking tokens, and recording their last use."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session, joinedload

from app.db.clock import present_time
from app.db.models import ApiToken, Principal, RoleGrant
from app.db.paging import Page, PageRequest, page_of
from app.domain.identity.access import Caller, Grant
from app.domain.identity.credentials import TokenCredential
from app.domain.identity.tokens import token_hash


@dataclass(frozen=True, slots=True)
class ValidToken:
    """A token that is neither revoked nor expired, with its caller."""

    id: UUID
    caller: Caller
    expires_at: datetime
    last_used_at: datetime | None


def valid_token(session: Session, token: str) -> ValidToken | None:
    """Return the token if it is valid, in one query.

    The lookup is by hash, so that the timing of comparisons reveals nothing about the token.
    """
    statement = (
        select(Principal, ApiToken, RoleGrant.role, RoleGrant.namespace)
        .join(ApiToken, ApiToken.principal_id == Principal.id)
        .outerjoin(RoleGrant, RoleGrant.principal_id == Principal.id)
        .where(
            ApiToken.hash == token_hash(token),
            ApiToken.revoked_at.is_(None),
            ApiToken.expires_at > present_time(),
            Principal.deactivated_at.is_(None),
        )
    )
    rows = session.execute(statement).all()
    if not rows:
        return None
    principal, found = rows[0][0], rows[0][1]
    grants = frozenset(Grant(row.role, row.namespace) for row in rows if row.role is not None)
    limit = None if found.channels is None else frozenset(found.channels)
    held = TokenCredential(found.id)
    caller = Caller(principal.id, principal.name, principal.kind, grants, held, limit)
    return ValidToken(found.id, caller, found.expires_at, found.last_used_at)


def lock_token(session: Session, token_id: UUID) -> ApiToken | None:
    """Return a token, with the principal that holds it locked (see `lock_authority`)."""
    holder = select(ApiToken.principal_id).where(ApiToken.id == token_id).scalar_subquery()
    principal = select(Principal.id).where(Principal.id == holder)
    session.execute(principal.with_for_update(key_share=True))
    return session.get(ApiToken, token_id)


def tokens_page(
    session: Session, request: PageRequest, *, principal: str | None = None
) -> Page[ApiToken]:
    """Return the tokens issued to one principal, or to all, latest first."""
    statement = select(ApiToken).options(joinedload(ApiToken.principal))
    if principal is not None:
        statement = statement.where(ApiToken.principal.has(Principal.name == principal))
    key = [ApiToken.created_at, ApiToken.id]
    return page_of(session, statement, key, request, descending=True)


def revoke_tokens(session: Session, principal_id: UUID, now: datetime) -> int:
    """Revoke every token of a principal; return the number of tokens that were not yet revoked."""
    statement = (
        update(ApiToken)
        .where(ApiToken.principal_id == principal_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(ApiToken.id)
    )
    return len(session.scalars(statement).all())


def write_last_use(session: Session, token_id: UUID, *, interval: timedelta) -> None:
    """Write a token's last use, unless a use less than `interval` ago is recorded."""
    now = present_time()
    old = or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at <= now - interval)
    session.execute(update(ApiToken).where(ApiToken.id == token_id, old).values(last_used_at=now))
