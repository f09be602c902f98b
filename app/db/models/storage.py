"""Tables of stored objects: direct uploads, pins against collection, damage marks, quotas."""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models.base import DISPOSABLE, Base, is_digest

UPLOADS: Final = "uploads/"
"""The prefix of the keys under which clients upload."""


def key_of_upload(upload_id: UUID) -> str:
    return f"{UPLOADS}{upload_id}"


def upload_id_of(key: str) -> UUID | None:
    """Return the upload of a key; None if it is the key of none."""
    try:
        return UUID(key.removeprefix(UPLOADS))
    except ValueError:
        return None


class Upload(Base):
    """An upload that a client sends straight to the object store, under a separate key.

    Nothing refers to it: a push reads the bytes, checks them, and stores them under their digest.
    """

    __tablename__ = "upload"
    __table_args__ = (
        is_digest("sha256"),
        CheckConstraint("size_bytes > 0", name="size_positive"),
        Index(None, "prefix_id", "sha256"),
        Index(None, "expires_at"),
        # A join would read every prefix of the namespace, or every upload of all others.
        Index(None, "namespace", "expires_at"),
        {"info": DISPOSABLE},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4, init=False)
    prefix_id: Mapped[UUID] = mapped_column(ForeignKey("prefix.id"))
    namespace: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    multipart_id: Mapped[str | None]
    created_at: Mapped[datetime]
    created_by_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    expires_at: Mapped[datetime]

    @property
    def key(self) -> str:
        return key_of_upload(self.id)


class BlobPin(Base):
    """A pin that protects an object from collection until a row refers to it.

    A push pins the object before it stores it. A collection marks an object that has no pin before
    it deletes it, and until `collected_until` no push can pin it.
    """

    __tablename__ = "blob_pin"
    __table_args__ = (is_digest("sha256"), Index(None, "expires_at"), {"info": DISPOSABLE})

    sha256: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]
    collected_until: Mapped[datetime | None] = mapped_column(default=None)


class Damage(Base):
    """Marks an object as missing or corrupt, until it is read intact or replaced."""

    __tablename__ = "damage"
    __table_args__ = (is_digest("sha256"), {"info": DISPOSABLE})

    sha256: Mapped[str] = mapped_column(primary_key=True)
    found_at: Mapped[datetime]
    problem: Mapped[str]


class QuotaRow(Base):
    """The use of a namespace, counted in the transactions that add to it, and its own limits.

    A namespace without versions or limits may have no row.
    """

    __tablename__ = "namespace_quota"
    __table_args__ = (
        CheckConstraint("namespace = lower(namespace)", name="namespace_lower_case"),
        CheckConstraint("used_bytes >= 0 AND used_versions >= 0", name="use_not_negative"),
        CheckConstraint(
            "limit_bytes > 0 AND limit_versions > 0 AND limit_requests > 0", name="limits_positive"
        ),
    )

    namespace: Mapped[str] = mapped_column(primary_key=True)
    used_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    used_versions: Mapped[int] = mapped_column(default=0, server_default="0")
    limit_bytes: Mapped[int | None] = mapped_column(BigInteger, default=None)
    limit_versions: Mapped[int | None] = mapped_column(default=None)
    limit_requests: Mapped[int | None] = mapped_column(default=None)
