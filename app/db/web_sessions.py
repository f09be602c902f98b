"""Sessions of the pages: finding one by its cookie, renewing and forgetting them."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from app.db.models import ApiToken, FederatedIdentityRow, Principal, RoleGrant, WebSession
from app.domain.errors import UnauthenticatedError
from app.domain.identity.access import Caller, Grant
from app.domain.identity.tokens import token_hash

# How long the cookie before the present one is good: for requests on their way at the change.
_OVERLAP: Final = timedelta(seconds=30)


def live_token(session: Session, token: str, now: datetime) -> ApiToken:
    """Return the row of a token.

    Raises:
        UnauthenticatedError: It is no API token, or revoked or expired.
    """
    statement = select(ApiToken).where(
        ApiToken.hash == token_hash(token), ApiToken.revoked_at.is_(None), ApiToken.expires_at > now
    )
    found = session.scalars(statement).one_or_none()
    if found is None:
        raise UnauthenticatedError("Sign in with an API token that is neither revoked nor expired.")
    return found


def session_by_cookie(
    session: Session, cookie_hash: str, issuers: Collection[str], now: datetime
) -> tuple[WebSession, Caller] | None:
    """Return a session and who is in it, in one query; None if it has ended.

    It ends with the token it was opened with, or with the binding of claims, or when that one's
    issuer is not of `issuers` any more.
    """
    presented = or_(
        WebSession.hash == cookie_hash,
        and_(WebSession.former_hash == cookie_hash, WebSession.renewed_at > now - _OVERLAP),
    )
    statement = (
        select(WebSession, Principal, ApiToken.channels, RoleGrant.role, RoleGrant.namespace)
        .outerjoin(
            ApiToken,
            and_(
                ApiToken.id == WebSession.token_id,
                ApiToken.revoked_at.is_(None),
                ApiToken.expires_at > now,
            ),
        )
        .outerjoin(
            FederatedIdentityRow,
            and_(
                FederatedIdentityRow.id == WebSession.identity_id,
                FederatedIdentityRow.issuer.in_(issuers),
            ),
        )
        .join(
            Principal,
            Principal.id == func.coalesce(ApiToken.principal_id, FederatedIdentityRow.principal_id),
        )
        .outerjoin(RoleGrant, RoleGrant.principal_id == Principal.id)
        .where(presented, WebSession.expires_at > now, Principal.deactivated_at.is_(None))
    )
    rows = session.execute(statement).all()
    if not rows:
        return None
    row, principal, channels = rows[0][0], rows[0][1], rows[0][2]
    grants = frozenset(Grant(each.role, each.namespace) for each in rows if each.role is not None)
    limit = None if channels is None else frozenset(channels)
    return row, Caller(principal.id, principal.name, principal.kind, grants, limit)


def renew(
    session: Session,
    session_id: UUID,
    *,
    before: str,
    after: str,
    expires_at: datetime,
    at: datetime,
) -> bool:
    """Give a session another cookie; False if a request at the same time did so first."""
    statement = (
        update(WebSession)
        .where(WebSession.id == session_id, WebSession.hash == before)
        .values(hash=after, former_hash=before, renewed_at=at, expires_at=expires_at)
        .returning(WebSession.id)
    )
    return session.scalars(statement).one_or_none() is not None


def forget(session: Session, session_id: UUID) -> bool:
    """Delete a session; False if it is gone already."""
    statement = delete(WebSession).where(WebSession.id == session_id).returning(WebSession.id)
    return session.scalars(statement).one_or_none() is not None


def forget_opened_by(session: Session, bindings: Iterable[FederatedIdentityRow]) -> None:
    """Delete the sessions that were opened by bindings which are about to go."""
    ids = [binding.id for binding in bindings]
    session.execute(delete(WebSession).where(WebSession.identity_id.in_(ids)))


def forget_expired(session: Session, now: datetime) -> None:
    session.execute(delete(WebSession).where(WebSession.expires_at <= now))
