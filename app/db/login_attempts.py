"""Login attempt queries: an OIDC login that was begun, which can be taken only once."""

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.db.models import LoginAttempt


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


def delete_expired_attempts(session: Session, now: datetime) -> None:
    session.execute(delete(LoginAttempt).where(LoginAttempt.expires_at <= now))
