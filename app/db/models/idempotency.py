"""The table of stored responses, from which retries of idempotent requests are served."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import DISPOSABLE, Base, is_digest


class IdempotencyRecord(Base):
    """The stored response of an idempotent request, with the request's fingerprint.

    It is committed together with the request's changes. The body is null if it held a secret.
    """

    __tablename__ = "idempotency_record"
    __table_args__ = (
        CheckConstraint("length(key) BETWEEN 1 AND 255", name="key_length"),
        is_digest("fingerprint"),
        Index(None, "recorded_at"),
        {"info": DISPOSABLE},
    )

    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    status: Mapped[int]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes | None] = mapped_column(repr=False)
    recorded_at: Mapped[datetime]
