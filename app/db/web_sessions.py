"""Web session queries: finding a session by its cookie, renewing and deleting sessions."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from app.db.clock import present_time
from app.db.models import ApiToken, FederatedIdentityRow, Principal, RoleGrant, WebSession
from app.domain.identity.access import Caller, Grant
from app.domain.identity.credentials import SessionCredential

# The previous cookie stays valid this long, for requests in flight while the cookie changes.
_OVERLAP: Final = timedelta(seconds=30)


def session_by_cookie(
    session: Session, cookie_hash: str, issuers: Collection[str]
) -> tuple[WebSession, Caller, datetime] | None:
    """Return a session, its caller and the time, in one query; None if the session has ended.

    A session ends with the token or the federated identity that opened it, or when the issuer of
    that identity is no longer one of `issuers`.
    """
    now = present_time()
    presented = or_(
        WebSession.hash == cookie_hash,
        and_(WebSession.former_hash == cookie_hash, WebSession.renewed_at > now - _OVERLAP),
    )
    statement = (
        select(WebSession, Principal, ApiToken.channels, RoleGrant.role, RoleGrant.namespace, now)
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
    row, principal, channels, _, _, at = rows[0]
    grants = frozenset(Grant(held.role, held.namespace) for held in rows if held.role is not None)
    limit = None if channels is None else frozenset(channels)
    held = SessionCredential(row.id)
    return row, Caller(principal.id, principal.name, principal.kind, grants, held, limit), at


def renew(
    session: Session,
    session_id: UUID,
    *,
    before: str,
    after: str,
    expires_at: datetime,
    at: datetime,
) -> bool:
    """Replace a session's cookie; False if a concurrent request did so first."""
    statement = (
        update(WebSession)
        .where(WebSession.id == session_id, WebSession.hash == before)
        .values(hash=after, former_hash=before, renewed_at=at, expires_at=expires_at)
        .returning(WebSession.id)
    )
    return session.scalars(statement).one_or_none() is not None


def delete_session(session: Session, session_id: UUID) -> None:
    session.execute(delete(WebSession).where(WebSession.id == session_id))


def delete_sessions_opened_by(session: Session, identities: Iterable[FederatedIdentityRow]) -> None:
    """Delete the sessions that were opened with federated identities about to be removed."""
    ids = [identity.id for identity in identities]
    session.execute(delete(WebSession).where(WebSession.identity_id.in_(ids)))


def delete_expired_sessions(session: Session) -> None:
    session.execute(delete(WebSession).where(WebSession.expires_at <= present_time()))
