"""Version queries: by number, revision, files or content, for resolving, and who pulled them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.orm import Session, joinedload, selectinload

from app.db.channels import served
from app.db.models import (
    Channel,
    Content,
    GenerationShare,
    Prefix,
    Pull,
    Revocation,
    Version,
    Withdrawal,
)
from app.db.paging import Page, PageRequest, beyond_cursor, page_of
from app.domain.artifacts.pulls import PullKey, Tally
from app.domain.identity.access import Caller
from app.domain.naming import Json, PrefixName

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
    """Return the version whose digest begins with the 40 hex digits of `revision`.

    Of versions with equal files it is the latest.
    """
    digest = f"sha256:{revision}"
    statement = _of(prefix).where(Version.digest.startswith(digest)).options(*_ALL_RELATIONS)
    if released_to is not None:
        statement = statement.where(served(Version.prefix_id, released_to, Version.id))
    return session.scalars(statement.order_by(Version.number.desc()).limit(1)).one_or_none()


def versions_numbered(
    session: Session, prefix: PrefixName, numbers: Collection[int]
) -> Mapping[int, Version]:
    """Return versions by number with the relations that the gate needs, without files."""
    statement = _of(prefix).where(Version.number.in_(numbers)).options(*_FOR_GATE)
    return {version.number: version for version in session.scalars(statement)}


def version_pushed(
    session: Session,
    prefix_id: UUID,
    digest: str,
    card: Mapping[str, Json],
    lineage: Mapping[str, Json],
) -> Version | None:
    """Return the version with these files, this card and this lineage."""
    statement = (
        select(Version)
        .where(
            Version.prefix_id == prefix_id,
            Version.digest == digest,
            Version.card == cast(dict(card), JSONB),
            Version.lineage == cast(dict(lineage), JSONB),
        )
        .options(*_ALL_RELATIONS)
    )
    return session.scalars(statement).one_or_none()


def add_content(session: Session, content: Content) -> None:
    """Insert a content unless it is known."""
    values = {column.key: getattr(content, column.key) for column in Content.__table__.columns}
    session.execute(insert(Content).values(values).on_conflict_do_nothing())


def lock_contents(
    session: Session, contents: Collection[str], *, for_revocation: bool = False
) -> Collection[str]:
    """Lock contents until the transaction ends; return those that are revoked.

    A revocation waits for the transactions that put a content on a channel, and they for it.
    The rows of contents cannot be locked, because the service may not change them.
    """
    kind = "" if for_revocation else "_shared"
    lock = getattr(func, f"pg_advisory_xact_lock{kind}")
    names = sorted(f"content {content}" for content in contents)
    keys = func.unnest(cast(names, ARRAY(Text))).column_valued("key")
    session.execute(select(lock(func.hashtextextended(keys, 0))))
    revoked = select(Revocation.content).where(Revocation.content.in_(contents))
    return set(session.scalars(revoked))


def authors_of(
    session: Session, contents: Collection[str], *, until: datetime
) -> Mapping[str, frozenset[UUID]]:
    """Return the ids of the principals that pushed each content by a moment, to any prefix."""
    statement = select(Version.content, Version.created_by_id).where(
        Version.content.in_(contents), Version.created_at <= until
    )
    found: dict[str, set[UUID]] = defaultdict(set)
    for content, author_id in session.execute(statement.distinct()):
        found[content].add(author_id)
    return {content: frozenset(authors) for content, authors in found.items()}


def versions_with_content(session: Session, prefix_id: UUID, content: str) -> Sequence[Version]:
    """Return a prefix's versions of a content, in order of their numbers."""
    statement = select(Version).where(Version.content == content, Version.prefix_id == prefix_id)
    return session.scalars(statement.order_by(Version.number).options(*_FOR_GATE)).all()


def first_pushed_at(session: Session, content: str) -> datetime:
    """Return when a content that some version has was first pushed, to any prefix."""
    statement = select(func.min(Version.created_at)).where(Version.content == content)
    return session.scalars(statement).one()


def withdrawals(session: Session, *, limit: int) -> Sequence[tuple[UUID, str]]:
    """Return the prefixes, by id, that have not withdrawn a revoked content yet."""
    statement = select(Withdrawal.prefix_id, Withdrawal.content).limit(limit)
    return [(prefix_id, content) for prefix_id, content in session.execute(statement)]


def prefixes_with_content(session: Session, content: str) -> Sequence[UUID]:
    """Return the ids of the prefixes that have a version of a content."""
    statement = select(Version.prefix_id).where(Version.content == content)
    return session.scalars(statement.distinct()).all()


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
