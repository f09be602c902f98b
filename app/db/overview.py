"""Overview queries: counts over the prefixes of a caller, and the rules that fail most often."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    ScalarSelect,
    Select,
    case,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, array
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.db.models import Channel, Prefix, Promotion, Revocation, Version
from app.db.prefixes import is_visible_to, is_wholly_visible_to
from app.domain.governance.findings import Outcome
from app.domain.governance.gate import GateResult
from app.domain.governance.lifecycle import PromotionState
from app.domain.identity.access import EVERYWHERE, Caller


@dataclass(frozen=True, slots=True)
class Count:
    """A count; with `more` it is a lower bound, because counting stopped at a limit."""

    number: int
    more: bool = False

    def __bool__(self) -> bool:
        return self.number > 0


@dataclass(frozen=True, slots=True)
class Counts:
    prefixes: Count
    versions: Count
    revoked: Count
    channels: Count
    live_channels: Count
    pending: Count


def counts(session: Session, caller: Caller, now: datetime, *, most: int = 10_000) -> Counts:
    """Count visible prefixes, and the other objects in the caller's namespaces, in one query.

    At most `most` rows of each kind are read, so the time does not grow with the registry. The
    number of versions comes from the prefixes' own counters.
    """
    totals = [_count_and_sum(rows.limit(most + 1)) for rows in _counted(caller, now)]
    found: Sequence[Sequence[int]] = session.execute(select(*totals)).one()
    (prefixes, versions), (channels, live), (revoked, _), (pending, _) = found
    return Counts(
        prefixes=_up_to(most, prefixes),
        versions=Count(versions, more=prefixes > most),
        revoked=_up_to(most, revoked),
        channels=_up_to(most, channels),
        live_channels=Count(live, more=channels > most),
        pending=_up_to(most, pending),
    )


def _counted(caller: Caller, now: datetime) -> Iterator[Select[int]]:
    """Yield selects of prefixes, channels, revocations and pending promotions, with a summand."""
    numbers = case((is_wholly_visible_to(caller), Prefix.last_number), else_=0)
    by_name = (Prefix.namespace, Prefix.name)  # an index has this order, so reading can stop early
    yield select(numbers).where(is_visible_to(caller)).order_by(*by_name)
    live = (Channel.generation > 0).cast(Integer)
    yield select(live).where(_below(caller, Channel.prefix_id, select(Prefix.id)))
    versions = select(Version.id).join(Version.prefix)
    revoked = select(literal(0)).select_from(Revocation)
    yield revoked.where(_below(caller, Revocation.version_id, versions))
    channels = select(Channel.id).join(Channel.prefix)
    pending = (Promotion.state == PromotionState.PENDING) & (Promotion.expires_at > now)
    requests = select(literal(0)).select_from(Promotion).where(pending)
    yield requests.where(_below(caller, Promotion.channel_id, channels))


def _below(
    caller: Caller, owner_id: InstrumentedAttribute[UUID], owners: Select[UUID]
) -> ColumnElement[bool]:
    """Return the condition that `owner_id` belongs to a prefix wholly visible to the caller."""
    if EVERYWHERE in caller.fully_visible_namespaces():
        return true()
    return owner_id.in_(owners.where(is_wholly_visible_to(caller)))


def _count_and_sum(statement: Select[int]) -> ScalarSelect[list[int]]:
    rows = statement.subquery()
    (number,) = rows.c
    total = array([func.count(), func.coalesce(func.sum(number), 0)])
    return select(total).select_from(rows).scalar_subquery()


def _up_to(most: int, found: int) -> Count:
    return Count(min(found, most), more=found > most)


@dataclass(frozen=True, slots=True)
class FailingRule:
    """A rule that fails the gate, with the numbers of affected requests and of findings."""

    rule: str
    requests: int
    findings: int


def failing_rules(
    session: Session, caller: Caller, *, since: datetime, limit: int = 8
) -> Sequence[FailingRule]:
    """Return the rules that failed the gate for requests since `since`, most frequent first."""
    finding = func.jsonb_array_elements(Promotion.decision["findings"], type_=JSONB).table_valued(
        "value", name="finding"
    )
    found = finding.c.value.cast(JSONB)
    rule, outcome = found["rule"].astext, found["outcome"].astext
    requests = func.count(Promotion.id.distinct())
    statement = (
        select(rule, requests, func.count())
        .select_from(Promotion)
        .join(Promotion.channel)
        .join(Channel.prefix)
        .join(finding, true())
        .where(
            is_wholly_visible_to(caller),
            Promotion.created_at >= since,
            Promotion.decision["result"].astext == GateResult.FAILED,
            outcome.in_([Outcome.FAILED, Outcome.MISSING]),
        )
        .group_by(rule)
        .order_by(requests.desc(), func.count().desc(), rule)
        .limit(limit)
    )
    return [FailingRule(*row) for row in session.execute(statement)]
