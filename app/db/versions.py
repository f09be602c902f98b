"""Version queries: by number, revision or digest, listed, for resolving, and who pulled them."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, joinedload, selectinload

from app.db.channels import served
from app.db.models import Channel, GenerationShare, Prefix, Pull, Revocation, Version
from app.db.paging import Page, PageRequest, beyond_cursor, page_of
from app.domain.artifacts.pulls import PullKey, Tally
from app.domain.identity.access import Caller
from app.domain.naming import PrefixName

_ALL_RELATIONS = (
    joinedload(Version.base_model),
    joinedload(Version.created_by),
    joinedload(Version.prefix).joinedload(Prefix.owner),
    joinedload(Version.revocation).joinedload(Revocation.revoked_by),
    selectinload(Version.files),
)

_FOR_GATE = (
    joinedload(Version.base_model),
    joinedload(Version.prefix).joinedload(Prefix.owner),
    joinedload(Version.revocation),
)

_LISTED = (
    joinedload(Version.base_model),
    joinedload(Version.created_by),
    joinedload(Version.revocation).joinedload(Revocation.revoked_by),
)


def version_numbered(
    session: Session, prefix: PrefixName, number: int, *, released_to: Caller | None = None
) -> Version | None:
    """Return a version with all its relations.

    With `released_to`, a channel visible to that caller must serve the version now.
    """
    statement = _of(prefix).where(Version.number == number).options(*_ALL_RELATIONS)
    if released_to is not None:
        statement = statement.where(served(Version.prefix_id, released_to, Version.id))
    return session.scalars(statement).unique().one_or_none()


def version_at_revision(
    session: Session, prefix: PrefixName, revision: str, *, released_to: Caller | None = None
) -> Version | None:
    """Return the version whose digest begins with the 40 hex digits of `revision`."""
    digest = f"sha256:{revision}"
    statement = _of(prefix).where(Version.digest.startswith(digest)).options(*_ALL_RELATIONS)
    if released_to is not None:
        statement = statement.where(served(Version.prefix_id, released_to, Version.id))
    return session.scalars(statement).unique().one_or_none()


def versions_numbered(
    session: Session, prefix: PrefixName, numbers: Collection[int]
) -> Mapping[int, Version]:
    """Return versions by number with the relations that the gate needs, without files."""
    statement = _of(prefix).where(Version.number.in_(numbers)).options(*_FOR_GATE)
    return {version.number: version for version in session.scalars(statement)}


def version_by_digest(session: Session, prefix_id: UUID, digest: str) -> Version | None:
    statement = select(Version).where(Version.prefix_id == prefix_id, Version.digest == digest)
    return session.scalars(statement.options(*_ALL_RELATIONS)).unique().one_or_none()


def versions_page(
    session: Session,
    prefix: PrefixName,
    request: PageRequest,
    *,
    released_to: Caller | None = None,
) -> Page[Version]:
    """Return versions, latest first."""
    # Filter by the prefix's id: with a join, PostgreSQL does not read the index in order.
    named = select(Prefix.id).where(
        Prefix.namespace == prefix.namespace, Prefix.name == prefix.name
    )
    statement = select(Version).where(Version.prefix_id == named.scalar_subquery())
    if released_to is not None:
        statement = statement.where(served(Version.prefix_id, released_to, Version.id))
    else:
        statement = statement.where(Version.number >= _last_of_page(statement, request))
    statement = statement.options(*_ALL_RELATIONS)
    return page_of(session, statement, [Version.number], request, descending=True)


def _last_of_page(versions: Select[Version], request: PageRequest) -> ColumnElement[int]:
    """Return the smallest number on a page of `versions`, which an index alone can find.

    Without this bound PostgreSQL reads and sorts all versions, because most prefixes have few.
    """
    numbers = versions.with_only_columns(Version.number).where(
        beyond_cursor([Version.number], request, descending=True)
    )
    page = numbers.order_by(Version.number.desc()).limit(request.limit + 1).subquery()
    return select(func.min(page.c.number)).scalar_subquery()


def versions_listed(
    session: Session, prefix: Prefix, *, limit: int = 50, released_to: Caller | None = None
) -> Sequence[Version]:
    """Return versions without their files, latest first, in one query."""
    statement = select(Version).where(Version.prefix_id == prefix.id)
    if released_to is not None:
        statement = statement.where(served(Version.prefix_id, released_to, Version.id))
    statement = statement.order_by(Version.number.desc()).limit(limit)
    return session.scalars(statement.options(*_LISTED)).all()


def versions_beside(
    session: Session, prefix: Prefix, numbers: Collection[int]
) -> Mapping[int, Version]:
    """Return versions for a comparison, with author and owner, without files, in one query."""
    statement = select(Version).where(Version.prefix_id == prefix.id, Version.number.in_(numbers))
    loaded = statement.options(*_LISTED, joinedload(Version.prefix).joinedload(Prefix.owner))
    fresh = loaded.execution_options(populate_existing=True)
    return {version.number: version for version in session.scalars(fresh)}


def served_versions(session: Session, channel: Channel) -> list[GenerationShare]:
    """Return a channel's current shares with versions, base models and files, in one query."""
    statement = (
        select(GenerationShare)
        .where(
            GenerationShare.channel_id == channel.id,
            GenerationShare.number == channel.generation,
        )
        .options(
            joinedload(GenerationShare.version).options(
                joinedload(Version.base_model), joinedload(Version.files)
            )
        )
    )
    return list(session.scalars(statement).unique())


def add_pulls(session: Session, counted: Mapping[PullKey, Tally]) -> None:
    """Add tallies to the stored ones, in one statement."""
    # Sorted, because two servers that update the same rows in different orders could deadlock.
    rows = [
        {
            "version_id": key.version_id,
            "principal_id": key.principal_id,
            "way": key.way,
            "times": tally.times,
            "first_at": tally.first_at,
            "last_at": tally.last_at,
        }
        for key, tally in sorted(counted.items())
    ]
    statement = insert(Pull).values(rows)
    new = statement.excluded
    session.execute(
        statement.on_conflict_do_update(
            constraint="pk_pull",
            set_={
                "times": Pull.times + new.times,
                "first_at": func.least(Pull.first_at, new.first_at),
                "last_at": func.greatest(Pull.last_at, new.last_at),
            },
        )
    )


def pulls_page(session: Session, version: Version, request: PageRequest) -> Page[Pull]:
    """Return the pulls of a version by principal and way, latest first."""
    statement = select(Pull).where(Pull.version_id == version.id)
    statement = statement.options(joinedload(Pull.principal))
    key = [Pull.last_at, Pull.principal_id, Pull.way]
    return page_of(session, statement, key, request, descending=True)


def _of(prefix: PrefixName) -> Select[Version]:
    return (
        select(Version)
        .join(Version.prefix)
        .where(Prefix.namespace == prefix.namespace, Prefix.name == prefix.name)
    )
