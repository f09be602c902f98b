"""Stored objects in the database: references, pins, damage marks and uploads."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, union, union_all
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, joinedload

from app.db.clock import present_time, registry_time
from app.db.models import (
    BlobPin,
    Damage,
    EvaluationFile,
    SuiteManifest,
    Upload,
    Version,
    VersionFile,
)

# The rows that refer to stored objects; each has a digest, a size, and an index on the digest.
_REFERRING: Final = (VersionFile, EvaluationFile, SuiteManifest)


def pin(session: Session, digests: Collection[str], until: datetime) -> bool:
    """Pin objects against collection until `until`; False if one of them is being collected."""
    wanted = set(digests)
    rows = [{"sha256": digest, "expires_at": until} for digest in sorted(wanted)]
    new = insert(BlobPin).values(rows)
    longer = func.greatest(BlobPin.expires_at, new.excluded.expires_at)
    statement = new.on_conflict_do_update(
        index_elements=[BlobPin.sha256],
        set_={"expires_at": longer, "collected_until": None},
        where=~_is_being_collected(),
    ).returning(BlobPin.sha256)
    return set(session.scalars(statement)) == wanted


def _is_being_collected() -> ColumnElement[bool]:
    return func.coalesce(BlobPin.collected_until > registry_time(), False)


def is_pinned(session: Session, digests: Collection[str]) -> bool:
    """Whether all objects are still pinned; the pins stay locked until the transaction ends."""
    wanted = set(digests)
    statement = (
        select(BlobPin.sha256)
        .where(BlobPin.sha256.in_(wanted), BlobPin.expires_at > present_time())
        .order_by(BlobPin.sha256)
        .with_for_update(read=True)
    )
    return set(session.scalars(statement)) == wanted


def mark_for_collection(session: Session, digest: str, until: datetime) -> bool:
    """Keep pushes from pinning an object until `until`; False if it is pinned or marked."""
    new = insert(BlobPin).values(sha256=digest, expires_at=registry_time(), collected_until=until)
    statement = new.on_conflict_do_update(
        index_elements=[BlobPin.sha256],
        set_={"collected_until": until},
        where=(BlobPin.expires_at <= registry_time()) & ~_is_being_collected(),
    ).returning(BlobPin.sha256)
    return session.scalar(statement) is not None


def unmark_collected(session: Session, digest: str, until: datetime) -> None:
    """Remove the mark of a collection, unless it has expired and a push has pinned the object."""
    session.execute(
        delete(BlobPin).where(BlobPin.sha256 == digest, BlobPin.collected_until == until)
    )


def delete_expired_pins(session: Session) -> None:
    """Delete expired pins, except those of objects that are being collected."""
    expired = (
        select(BlobPin.sha256)
        .where(BlobPin.expires_at <= present_time(), ~_is_being_collected())
        .with_for_update(skip_locked=True)
    )
    session.execute(delete(BlobPin).where(BlobPin.sha256.in_(expired)))


def unreferenced(session: Session, digests: Collection[str]) -> set[str]:
    """Return the digests to which no file of a version or evaluation and no manifest refers."""
    found = [select(rows.sha256).where(rows.sha256.in_(digests)) for rows in _REFERRING]
    return set(digests) - set(session.scalars(union_all(*found)))


def is_referenced(session: Session, digest: str) -> bool:
    return not unreferenced(session, {digest})


@dataclass(frozen=True, slots=True)
class ReferencedBlob:
    digest: str
    size_bytes: int


def referenced_after(session: Session, digest: str, limit: int) -> Sequence[ReferencedBlob]:
    """Return the referenced objects after `digest` in order of digest, each once."""
    parts = [
        select(rows.sha256.label("sha256"), rows.size_bytes.label("size_bytes"))
        .distinct()
        .where(rows.sha256 > digest)
        .order_by(rows.sha256)
        .limit(limit)
        for rows in _REFERRING
    ]
    # A limit in each part lets PostgreSQL read all of them from their index.
    objects = union(*(part.subquery().select() for part in parts)).subquery()
    statement = (
        select(objects.c.sha256, objects.c.size_bytes).order_by(objects.c.sha256).limit(limit)
    )
    return [ReferencedBlob(found, size) for found, size in session.execute(statement)]


def referenced_size_bytes(session: Session) -> int:
    """Return the total size of all referenced objects, counting each object once."""
    objects = union(*(select(rows.sha256, rows.size_bytes) for rows in _REFERRING)).subquery()
    return int(session.scalar(select(func.sum(objects.c.size_bytes))) or 0)


def versions_with(session: Session, digest: str) -> Sequence[Version]:
    """Return the versions that contain a stored object, with their prefixes."""
    statement = (
        select(Version)
        .join(Version.files)
        .where(VersionFile.sha256 == digest)
        .options(joinedload(Version.prefix))
        .order_by(Version.prefix_id, Version.number)
    )
    return session.scalars(statement).unique().all()


def add_damage(session: Session, digest: str, problem: str, now: datetime) -> bool:
    """Mark an object as damaged; False if it is already marked."""
    new = insert(Damage).values(sha256=digest, found_at=now, problem=problem)
    statement = new.on_conflict_do_nothing().returning(Damage.sha256)
    return session.scalar(statement) is not None


def remove_damage(session: Session, digest: str) -> bool:
    """Remove an object's damage mark; False if it is not marked."""
    statement = delete(Damage).where(Damage.sha256 == digest).returning(Damage.sha256)
    return session.scalar(statement) is not None


def damaged_digests(session: Session, among: Collection[str] | None = None) -> set[str]:
    """Return the digests that are marked as damaged, of all objects or of some."""
    statement = select(Damage.sha256)
    if among is not None:
        statement = statement.where(Damage.sha256.in_(among))
    return set(session.scalars(statement))


def damaged_among(session: Session, versions: Collection[UUID]) -> Mapping[UUID, list[str]]:
    """Return the names of the damaged files of each damaged version among `versions`."""
    statement = (
        select(VersionFile.version_id, VersionFile.name)
        .join(Damage, Damage.sha256 == VersionFile.sha256)
        .where(VersionFile.version_id.in_(versions))
        .order_by(VersionFile.name)
    )
    found: dict[UUID, list[str]] = {}
    for version_id, name in session.execute(statement):
        found.setdefault(version_id, []).append(name)
    return found


def upload_by_id(session: Session, upload_id: UUID) -> Upload | None:
    return session.get(Upload, upload_id)


def upload_of(session: Session, prefix_id: UUID, principal_id: UUID, sha256: str) -> Upload | None:
    """Return a principal's latest upload of an object to a prefix."""
    statement = (
        select(Upload)
        .where(
            Upload.prefix_id == prefix_id,
            Upload.sha256 == sha256,
            Upload.created_by_id == principal_id,
        )
        .order_by(Upload.created_at.desc())
        .limit(1)
    )
    return session.scalars(statement).one_or_none()


def expired_uploads(session: Session, limit: int) -> Sequence[Upload]:
    """Return the uploads that have expired, the oldest first."""
    statement = (
        select(Upload)
        .where(Upload.expires_at <= present_time())
        .order_by(Upload.expires_at)
        .limit(limit)
    )
    return session.scalars(statement).all()


def delete_uploads(session: Session, uploads: Collection[UUID]) -> int:
    """Delete rows of uploads that have expired; return how many there were."""
    statement = delete(Upload).where(Upload.id.in_(uploads), Upload.expires_at <= present_time())
    return len(session.scalars(statement.returning(Upload.id)).all())


def announced_among(session: Session, uploads: Collection[UUID]) -> set[UUID]:
    """Return the uploads that have a row."""
    return set(session.scalars(select(Upload.id).where(Upload.id.in_(uploads))))
