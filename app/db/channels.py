"""Channels and their generations: what is served now, and what was."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload, selectinload

from app.db.models import Channel, Generation, GenerationShare, Prefix, Version
from app.db.paging import Page, PageRequest, page_of
from app.domain.governance.allocation import Allocation, Share
from app.domain.governance.lifecycle import GenerationKind
from app.domain.identity.access import Caller
from app.domain.naming import PrefixName

_WITH_SHARES = selectinload(Generation.shares).joinedload(GenerationShare.version)
_NOW = and_(GenerationShare.channel_id == Channel.id, GenerationShare.number == Channel.generation)


def channel_named(session: Session, prefix: PrefixName, name: str) -> Channel | None:
    return session.scalars(_named(prefix, name)).one_or_none()


def lock_channel(session: Session, prefix: PrefixName, name: str) -> Channel | None:
    """Return the channel with its row locked; what it serves then cannot change meanwhile."""
    lock = _named(prefix, name).with_for_update(of=Channel, key_share=True)
    return session.scalars(lock.execution_options(populate_existing=True)).one_or_none()


def lock_channels_serving(session: Session, version: Version) -> Sequence[Channel]:
    """Return, locked and in one order, the channels of the prefix that serve `version` now."""
    statement = (
        select(Channel)
        .join(GenerationShare, _NOW)
        .where(Channel.prefix_id == version.prefix_id, GenerationShare.version_id == version.id)
        .order_by(Channel.name)
        .options(joinedload(Channel.policy), joinedload(Channel.prefix))
        .with_for_update(of=Channel, key_share=True)
    )
    return session.scalars(statement).all()


def _named(prefix: PrefixName, name: str) -> Select[Channel]:
    return (
        select(Channel)
        .join(Channel.prefix)
        .where(
            Prefix.namespace == prefix.namespace, Prefix.name == prefix.name, Channel.name == name
        )
        .options(joinedload(Channel.policy), joinedload(Channel.prefix))
    )


def channels_of(session: Session, prefix_ids: Collection[UUID]) -> Mapping[UUID, list[Channel]]:
    statement = select(Channel).where(Channel.prefix_id.in_(prefix_ids)).order_by(Channel.name)
    found: dict[UUID, list[Channel]] = defaultdict(list)
    for channel in session.scalars(statement.options(joinedload(Channel.policy))):
        found[channel.prefix_id].append(channel)
    return found


def allocation_of(session: Session, channel: Channel) -> Allocation:
    """Return what the channel serves now; empty before its first promotion."""
    return generation_allocation(session, channel.id, channel.generation)


def generation_allocation(session: Session, channel_id: UUID, number: int) -> Allocation:
    statement = (
        select(Version.number, GenerationShare.weight)
        .join(GenerationShare, GenerationShare.version_id == Version.id)
        .where(GenerationShare.channel_id == channel_id, GenerationShare.number == number)
        .order_by(GenerationShare.weight.desc(), Version.number)
    )
    return tuple(Share(number, weight) for number, weight in session.execute(statement))


def allocations_of(session: Session, channels: Collection[Channel]) -> Mapping[UUID, list[Share]]:
    """Return what each of `channels` serves now, in one query."""
    statement = (
        select(Channel.id, Version.number, GenerationShare.weight)
        .join(GenerationShare, _NOW)
        .join(Version, GenerationShare.version_id == Version.id)
        .where(Channel.id.in_([channel.id for channel in channels]))
        .order_by(GenerationShare.weight.desc(), Version.number)
    )
    found: dict[UUID, list[Share]] = defaultdict(list)
    for channel_id, number, weight in session.execute(statement):
        found[channel_id].append(Share(number, weight))
    return found


def served(
    prefix_id: InstrumentedAttribute[UUID],
    caller: Caller,
    version_id: InstrumentedAttribute[UUID] | None = None,
) -> ColumnElement[bool]:
    """Return the condition that a channel which the caller may read serves something now."""
    conditions = [Channel.prefix_id == prefix_id]
    if version_id is not None:
        conditions.append(GenerationShare.version_id == version_id)
    if caller.channels is not None:
        conditions.append(Channel.name.in_(caller.channels))
    return select(Channel.id).join(GenerationShare, _NOW).where(*conditions).exists()


def channels_serving(session: Session, version_ids: Collection[UUID]) -> Mapping[UUID, list[str]]:
    """Return, for each version, the names of the channels that serve it now."""
    statement = (
        select(GenerationShare.version_id, Channel.name)
        .join(Channel, _NOW)
        .where(GenerationShare.version_id.in_(version_ids))
        .order_by(Channel.name)
    )
    found: dict[UUID, list[str]] = defaultdict(list)
    for version_id, name in session.execute(statement):
        found[version_id].append(name)
    return found


def versions_by_break_glass(session: Session, version_ids: Collection[UUID]) -> set[UUID]:
    """Return which of the versions were ever put on a channel by breaking the glass."""
    statement = (
        select(GenerationShare.version_id)
        .join(
            Generation,
            and_(
                Generation.channel_id == GenerationShare.channel_id,
                Generation.number == GenerationShare.number,
            ),
        )
        .where(
            GenerationShare.version_id.in_(version_ids),
            Generation.kind == GenerationKind.BREAK_GLASS,
        )
    )
    return set(session.scalars(statement))


def had_break_glass(session: Session, channel: Channel) -> bool:
    """Return whether the channel was ever moved by breaking the glass."""
    broken = exists().where(
        Generation.channel_id == channel.id, Generation.kind == GenerationKind.BREAK_GLASS
    )
    return bool(session.scalar(select(broken)))


def generation_numbered(session: Session, channel: Channel, number: int) -> Generation | None:
    statement = select(Generation).where(
        Generation.channel_id == channel.id, Generation.number == number
    )
    loaded = statement.options(
        selectinload(Generation.shares)
        .joinedload(GenerationShare.version)
        .joinedload(Version.revocation)
    )
    return session.scalars(loaded).one_or_none()


def history_page(
    session: Session, channel: Channel, request: PageRequest, *, at: datetime | None
) -> Page[Generation]:
    """Return the channel's generations, latest first; with `at`, only what was live then."""
    statement = select(Generation).where(Generation.channel_id == channel.id)
    if at is not None:
        statement = statement.where(Generation.executed_at <= at)
        request = PageRequest(limit=1)
    statement = statement.options(_WITH_SHARES, joinedload(Generation.executed_by))
    page = page_of(session, statement, [Generation.number], request, descending=True)
    return page if at is None else Page(page.items, None)
