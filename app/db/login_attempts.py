"""Sign-ins that were begun at an issuer: taking one is using it."""

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.db.models import LoginAttempt


def take_attempt(session: Session, *, state_hash: str, browser_hash: str) -> LoginAttempt | None:
    """Delete and return an attempt of this browser; of several requests one gets it."""
    statement = (
        delete(LoginAttempt)
        .where(
            LoginAttempt.state_hash == state_hash,
            LoginAttempt.browser_hash == browser_hash,
        )
        .returning(LoginAttempt)
    )
    return session.scalars(statement).one_or_none()


def forget_attempts(session: Session, now: datetime) -> None:
    session.execute(delete(LoginAttempt).where(LoginAttempt.expires_at <= now))
