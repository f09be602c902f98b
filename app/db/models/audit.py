"""Tables of the audit log: a hash chain for each subject, and a Merkle tree over the chains."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import APPEND_ONLY, Base, is_digest


class AuditChain(Base):
    """The length and latest hash of a subject's chain; a lock on its row serialises changes.

    `latest_at` is the time of the latest entry, which no later one precedes.
    """

    __tablename__ = "audit_chain"
    __table_args__ = (
        is_digest("head"),
        CheckConstraint("length >= 0", name="length_not_negative"),
    )

    subject: Mapped[str] = mapped_column(primary_key=True)
    length: Mapped[int]
    head: Mapped[str]
    latest_at: Mapped[datetime]


class AuditEntry(Base):
    """A sealed event. `principal` and `facts` hold the names at that time besides the ids."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        is_digest("hash"),
        is_digest("previous"),
        CheckConstraint("sequence > 0", name="sequence_positive"),
        # The text has blanks that the canonical form, which is bounded by half of this, has not.
        CheckConstraint("octet_length(facts::text) <= 32768", name="facts_bounded"),
        Index(None, "at", "subject", "sequence"),
        Index(None, "action", "at", "subject", "sequence"),
        Index(None, "principal", "at", "subject", "sequence"),
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


class AuditLeaf(Base):
    """A leaf of the tree: the length and latest hash of a chain when a checkpoint was taken."""

    __tablename__ = "audit_leaf"
    __table_args__ = (
        is_digest("head"),
        CheckConstraint("index >= 0", name="index_not_negative"),
        # An entry that a checkpoint covers cannot be deleted while its leaf exists.
        ForeignKeyConstraint(
            ["subject", "length"], ["audit_entry.subject", "audit_entry.sequence"]
        ),
        UniqueConstraint("subject", "length"),
        {"info": APPEND_ONLY},
    )

    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    subject: Mapped[str]
    length: Mapped[int]
    head: Mapped[str]


class AuditNode(Base):
    """The hash of a complete subtree, which later leaves never change; level 0 is the leaves."""

    __tablename__ = "audit_node"
    __table_args__ = (
        CheckConstraint("octet_length(hash) = 32", name="hash_is_sha256"),
        {"info": APPEND_ONLY},
    )

    level: Mapped[int] = mapped_column(primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    hash: Mapped[bytes]


class AuditCheckpoint(Base):
    """A signed statement of the tree's size and root."""

    __tablename__ = "audit_checkpoint"
    __table_args__ = (
        CheckConstraint("size >= 0", name="size_not_negative"),
        CheckConstraint("octet_length(root) = 32", name="root_is_sha256"),
        {"info": APPEND_ONLY},
    )

    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    root: Mapped[bytes]
    note: Mapped[str]
    taken_at: Mapped[datetime]
    taken_by: Mapped[str]
