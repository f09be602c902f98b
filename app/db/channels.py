"""Channel queries: channels, their current allocations and their past generations."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload, selectinload

from app.db.models import Channel, Generation, GenerationShare, Prefix, Version
from app.db.paging import Page, PageRequest, page_of
from app.domain.governance.allocation import Allocation, Share
from app.domain.governance.lifecycle import GenerationKind
from app.domain.identity.access import Caller
from app.domain.naming import PrefixName

_WITH_SHARES = selectinload(Generation.shares).joinedload(GenerationShare.version)
_CURRENT = and_(
    GenerationShare.channel_id == Channel.id, GenerationShare.number == Channel.generation
)


def channel_named(session: Session, prefix: PrefixName, name: str) -> Channel | None:
    return session.scalars(_named(prefix, name)).one_or_none()


def lock_channel(session: Session, prefix: PrefixName, name: str) -> Channel | None:
    """Return the channel with its row locked, so that its allocation cannot change."""
    lock = _named(prefix, name).with_for_update(of=Channel, key_share=True)
    return session.scalars(lock.execution_options(populate_existing=True)).one_or_none()


def lock_channels_serving(
    session: Session, prefix: Prefix, version_ids: Collection[UUID]
) -> Sequence[Channel]:
    """Return the prefix's channels that serve one of the versions, locked in order of names."""
    serving = (
        select(Channel.id)
        .join(GenerationShare, _CURRENT)
        .where(Channel.prefix_id == prefix.id, GenerationShare.version_id.in_(version_ids))
    )
    statement = (
        select(Channel)
        .where(Channel.id.in_(serving))
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
    """Return the channel's current allocation; empty before its first promotion."""
    return generation_allocation(session, channel.id, channel.generation)


def generation_allocation(session: Session, channel_id: UUID, number: int) -> Allocation:
    statement = (
        select(Version.number, GenerationShare.weight)
        .join(GenerationShare, GenerationShare.version_id == Version.id)
        .where(GenerationShare.channel_id == channel_id, GenerationShare.number == number)
        .order_by(GenerationShare.weight.desc(), Version.number)
    )
    return tuple(Share(number, weight) for number, weight in session.execute(statement))


def fully_served(
    session: Session, channel: Channel, *, generations: int, above: int
) -> Sequence[int]:
    """Return the numbers of the versions that a channel fully served, latest first.

    These are the versions of its last `generations` promotions and rollbacks that had more than
    `above` basis points, which a canary alone cannot give. Break-glass does not count.
    """
    full = (
        select(Generation.number, GenerationShare.version_id)
        .join(Generation.shares)
        .where(
            Generation.channel_id == channel.id,
            Generation.kind.in_([GenerationKind.PROMOTION, GenerationKind.ROLLBACK]),
            GenerationShare.weight > above,
        )
    ).subquery()
    last = (
        select(full.c.number).distinct().order_by(full.c.number.desc()).limit(generations)
    ).scalar_subquery()
    statement = (
        select(Version.number)
        .join(full, full.c.version_id == Version.id)
        .where(full.c.number.in_(last))
        .group_by(Version.number)
        .order_by(func.max(full.c.number).desc(), Version.number)
    )
    return session.scalars(statement).all()


def allocations_of(session: Session, channels: Collection[Channel]) -> Mapping[UUID, list[Share]]:
    """Return the current allocation of each channel, in one query."""
    statement = (
        select(Channel.id, Version.number, GenerationShare.weight)
        .join(GenerationShare, _CURRENT)
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
    """Return the condition that a channel visible to the caller serves a version of a prefix.

    With `version_id`, the channel must serve that version.
    """
    conditions = [Channel.prefix_id == prefix_id]
    if version_id is not None:
        conditions.append(GenerationShare.version_id == version_id)
    if caller.channels is not None:
        conditions.append(Channel.name.in_(caller.channels))
    return select(Channel.id).join(GenerationShare, _CURRENT).where(*conditions).exists()


def channels_serving(session: Session, version_ids: Collection[UUID]) -> Mapping[UUID, list[str]]:
    """Return, for each version, the names of the channels that serve it now."""
    statement = (
        select(GenerationShare.version_id, Channel.name)
        .join(Channel, _CURRENT)
        .where(GenerationShare.version_id.in_(version_ids))
        .order_by(Channel.name)
    )
    found: dict[UUID, list[str]] = defaultdict(list)
    for version_id, name in session.execute(statement):
        found[version_id].append(name)
    return found


def versions_by_break_glass(session: Session, version_ids: Collection[UUID]) -> set[UUID]:
    """Return the versions among `version_ids` that ever reached a channel by break-glass."""
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
    """Return whether the channel has a generation that was executed by break-glass."""
    break_glass = exists().where(
        Generation.channel_id == channel.id, Generation.kind == GenerationKind.BREAK_GLASS
    )
    return bool(session.scalar(select(break_glass)))


def generation_numbered(session: Session, channel: Channel, number: int) -> Generation | None:
    statement = select(Generation).where(
        Generation.channel_id == channel.id, Generation.number == number
    )
    loaded = statement.options(
        selectinload(Generation.shares)
        .joinedload(GenerationShare.version)
        .options(joinedload(Version.revocation), joinedload(Version.prefix))
    )
    return session.scalars(loaded).one_or_none()


def history_page(
    session: Session, channel: Channel, request: PageRequest, *, at: datetime | None
) -> Page[Generation]:
    """Return the channel's generations, latest first; with `at`, only the one live then."""
    statement = select(Generation).where(Generation.channel_id == channel.id)
    if at is not None:
        statement = statement.where(Generation.executed_at <= at)
        request = PageRequest(limit=1)
    statement = statement.options(_WITH_SHARES, joinedload(Generation.executed_by))
    page = page_of(session, statement, [Generation.number], request, descending=True)
    return page if at is None else Page(page.items, None)
