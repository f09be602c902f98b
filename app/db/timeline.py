"""Timeline queries: generations across the channels of a prefix, and the latest changes."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, contains_eager, joinedload

from app.db.models import Channel, Generation, GenerationShare, Prefix
from app.db.prefixes import is_wholly_visible_to
from app.domain.identity.access import Caller


def timeline(
    session: Session,
    caller: Caller,
    prefix: Prefix,
    *,
    limit: int = 30,
    until: datetime | None = None,
) -> Sequence[Generation]:
    """Return the generations of a prefix's channels, latest first; with `until`, up to then."""
    statement = _generations().where(Channel.prefix_id == prefix.id).limit(limit)
    if caller.channels is not None:
        statement = statement.where(Channel.name.in_(caller.channels))
    if until is not None:
        statement = statement.where(Generation.executed_at <= until)
    return session.scalars(statement).unique().all()


def recent_changes(session: Session, caller: Caller, *, limit: int = 8) -> Sequence[Generation]:
    """Return the latest generations of prefixes that are wholly visible to the caller."""
    statement = _generations().join(Channel.prefix).where(is_wholly_visible_to(caller)).limit(limit)
    with_names = statement.options(
        contains_eager(Generation.channel).contains_eager(Channel.prefix)
    )
    return session.scalars(with_names).unique().all()


def _generations() -> Select[Generation]:
    return (
        select(Generation)
        .join(Generation.channel)
        .order_by(Generation.executed_at.desc(), Generation.channel_id, Generation.number.desc())
        .options(
            contains_eager(Generation.channel),
            joinedload(Generation.executed_by),
            joinedload(Generation.shares).joinedload(GenerationShare.version),
        )
    )
