"""Idempotency queries: claiming a key, and storing, finding and deleting responses."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.db.clock import present_time
from app.db.models import IdempotencyRecord
from app.domain.idempotency import STORED_FOR


def claim_key(session: Session, principal_id: UUID, key: str) -> bool:
    """Claim a principal's key until the transaction ends; False if another request holds it."""
    number = func.hashtextextended(f"{principal_id} {key}", 0)
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(number))))


def stored_response(
    session: Session, principal_id: UUID, key: str, now: datetime
) -> IdempotencyRecord | None:
    record = session.get(IdempotencyRecord, (principal_id, key))
    return record if record is not None and record.recorded_at > now - STORED_FOR else None


def store_response(session: Session, record: IdempotencyRecord) -> None:
    """Store a response, replacing an expired one with the same key."""
    session.merge(record)


def delete_expired_records(session: Session) -> None:
    """Delete the stored responses that have expired."""
    session.execute(
        delete(IdempotencyRecord).where(
            IdempotencyRecord.recorded_at <= present_time() - STORED_FOR
        )
    )
