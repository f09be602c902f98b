"""The audit log: one hash chain per subject."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import APPEND_ONLY, Base, is_digest


class AuditChain(Base):
    """The end of one subject's chain; its row is the lock that orders appends to it."""

    __tablename__ = "audit_chain"
    __table_args__ = (
        is_digest("head"),
        CheckConstraint("length >= 0", name="length_not_negative"),
    )

    subject: Mapped[str] = mapped_column(primary_key=True)
    length: Mapped[int]
    head: Mapped[str]


class AuditEntry(Base):
    """One sealed event. `principal` and `facts` carry the names of that day beside the ids."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        is_digest("hash"),
        is_digest("previous"),
        CheckConstraint("sequence > 0", name="sequence_positive"),
        {"info": APPEND_ONLY},
    )

    subject: Mapped[str] = mapped_column(ForeignKey("audit_chain.subject"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    principal: Mapped[str]
    principal_id: Mapped[UUID]
    action: Mapped[str]
    facts: Mapped[dict[str, Any]]
    previous: Mapped[str]
    hash: Mapped[str]
