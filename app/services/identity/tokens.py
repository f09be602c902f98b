"""Issuing and revoking API tokens."""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from app.db import audit
from app.db.models import ApiToken, Principal
from app.db.session import Sessions
from app.db.tokens import lock_token
from app.domain.audit.chain import REGISTRY, Facts
from app.domain.errors import NotFoundError, UnknownReferenceError
from app.domain.identity.access import EVERYWHERE, Caller, Role, not_found
from app.domain.identity.tokens import new_token, token_hash
from app.services.identity.principals import facts_of, lock_active, record


def issue_token(
    sessions: Sessions,
    *,
    principal: str,
    lifetime: timedelta,
    channels: Collection[str] | None,
    caller: Caller,
    now: datetime,
) -> tuple[ApiToken, str]:
    """Issue a token; return its row and the secret, which cannot be read again.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        UnknownReferenceError: The principal does not exist.
        PrincipalDeactivatedError: The principal is deactivated.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        try:
            holder = lock_active(session, principal)
        except NotFoundError as error:
            message = f"The principal {principal} does not exist; create it first."
            raise UnknownReferenceError(message) from error
        return add_token(session, holder, lifetime, channels, caller, now)


def add_token(
    session: Session,
    holder: Principal,
    lifetime: timedelta,
    channels: Collection[str] | None,
    caller: Caller,
    now: datetime,
) -> tuple[ApiToken, str]:
    """Insert a token and its audit entry, in the caller's transaction."""
    secret = new_token()
    limit = None if channels is None else sorted(set(channels))
    token = ApiToken(holder.id, token_hash(secret), now, now + lifetime, limit)
    session.add(token)
    session.flush()
    facts = facts_of(holder) | {
        "token_id": str(token.id),
        "expires_at": token.expires_at.isoformat(),
        "channels": None if limit is None else [*limit],
    }
    record(session, "token.issue", facts, caller, now)
    return token, secret


def revoke_token(sessions: Sessions, *, token_id: UUID, caller: Caller, now: datetime) -> None:
    """Revoke a token; revoking it again changes nothing.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        NotFoundError: The token does not exist.
    """
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions.begin() as session:
        audit.lock_chain(session, REGISTRY)
        token = lock_token(session, token_id)
        if token is None:
            raise not_found("token", str(token_id))
        if token.revoked_at is None:
            token.revoked_at = now
            facts: Facts = {"token_id": str(token_id)}
            record(session, "token.revoke", facts, caller, now)
