"""Versions: one by number or revision, the list of them, and what resolve needs."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from app.db.channels import served
from app.db.models import Channel, GenerationShare, Prefix, Revocation, Version
from app.db.paging import Page, PageRequest, beyond_cursor, page_of
from app.domain.identity.access import Caller
from app.domain.naming import PrefixName

_WHOLE = (
    joinedload(Version.base_model),
    joinedload(Version.created_by),
    joinedload(Version.prefix).joinedload(Prefix.owner),
    joinedload(Version.revocation).joinedload(Revocation.revoked_by),
    selectinload(Version.files),
)

_JUDGED = (
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
    """Return a version with all that belongs to it.

    With `released_to` it must be served now by a channel which that caller may read.
    """
    statement = _of(prefix).where(Version.number == number).options(*_WHOLE)
    if released_to is not None:
        statement = statement.where(served(Version.prefix_id, released_to, Version.id))
    return session.scalars(statement).unique().one_or_none()


def version_at_revision(
    session: Session, prefix: PrefixName, revision: str, *, released_to: Caller | None = None
) -> Version | None:
    """Return the version whose digest begins with the 40 hex digits of `revision`."""
    digest = f"sha256:{revision}"
    statement = _of(prefix).where(Version.digest.startswith(digest)).options(*_WHOLE)
    if released_to is not None:
        statement = statement.where(served(Version.prefix_id, released_to, Version.id))
    return session.scalars(statement).unique().one_or_none()


def versions_numbered(
    session: Session, prefix: PrefixName, numbers: Collection[int]
) -> Mapping[int, Version]:
    """Return versions with what a gate looks at, which is all but their files."""
    statement = _of(prefix).where(Version.number.in_(numbers)).options(*_JUDGED)
    return {version.number: version for version in session.scalars(statement)}


def version_by_digest(session: Session, prefix_id: UUID, digest: str) -> Version | None:
    statement = select(Version).where(Version.prefix_id == prefix_id, Version.digest == digest)
    return session.scalars(statement.options(*_WHOLE)).unique().one_or_none()


def versions_page(
    session: Session,
    prefix: PrefixName,
    request: PageRequest,
    *,
    released_to: Caller | None = None,
) -> Page[Version]:
    """Return versions, latest first."""
    # By the prefix's id, not by a join: only then are the versions read in the index's order.
    named = select(Prefix.id).where(
        Prefix.namespace == prefix.namespace, Prefix.name == prefix.name
    )
    statement = select(Version).where(Version.prefix_id == named.scalar_subquery())
    if released_to is not None:
        statement = statement.where(served(Version.prefix_id, released_to, Version.id))
    else:
        statement = statement.where(Version.number >= _last_of_page(statement, request))
    statement = statement.options(*_WHOLE)
    return page_of(session, statement, [Version.number], request, descending=True)


def _last_of_page(versions: Select[Version], request: PageRequest) -> ColumnElement[int]:
    """Return the least number that a page of `versions` shows, found by their index alone.

    Most prefixes have few versions, so without that bound PostgreSQL reads and sorts them all.
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
    """Return versions to be compared, with author and owner and without files, in one query."""
    statement = select(Version).where(Version.prefix_id == prefix.id, Version.number.in_(numbers))
    loaded = statement.options(*_LISTED, joinedload(Version.prefix).joinedload(Prefix.owner))
    fresh = loaded.execution_options(populate_existing=True)
    return {version.number: version for version in session.scalars(fresh)}


def served_versions(session: Session, channel: Channel) -> list[GenerationShare]:
    """Return the channel's current shares with versions, base models and files, in one query."""
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


def _of(prefix: PrefixName) -> Select[Version]:
    return (
        select(Version)
        .join(Version.prefix)
        .where(Prefix.namespace == prefix.namespace, Prefix.name == prefix.name)
    )
