"""Kept answers: claiming a key, finding what it was answered, forgetting it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.db.models import IdempotencyRecord
from app.domain.idempotency import KEPT_FOR


def claim_key(session: Session, principal_id: UUID, key: str) -> bool:
    """Take a principal's key until the transaction ends; False if another request has it."""
    number = func.hashtextextended(f"{principal_id} {key}", 0)
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(number))))


def stored_response(
    session: Session, principal_id: UUID, key: str, now: datetime
) -> IdempotencyRecord | None:
    kept = session.get(IdempotencyRecord, (principal_id, key))
    return kept if kept is not None and kept.answered_at > now - KEPT_FOR else None


def store_response(session: Session, answer: IdempotencyRecord) -> None:
    """Keep an answer, in the place of one that has expired if there is one."""
    session.merge(answer)


def delete_expired_records(session: Session, now: datetime) -> None:
    """Delete the answers that have expired."""
    session.execute(
        delete(IdempotencyRecord).where(IdempotencyRecord.answered_at <= now - KEPT_FOR)
    )
