"""Numbers over everything that a caller works on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, ScalarSelect, func, select, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from app.db.models import Channel, Prefix, Promotion, Revocation, Version
from app.db.prefixes import in_sight, worked_on
from app.domain.access import Caller
from app.domain.findings import Outcome
from app.domain.gate import Result
from app.domain.lifecycle import PromotionState


@dataclass(frozen=True, slots=True)
class Counts:
    prefixes: int
    versions: int
    revoked: int
    channels: int
    live_channels: int
    pending: int


def counts(session: Session, caller: Caller, now: datetime) -> Counts:
    """Count what the caller works on, and of prefixes what it may see, in one query."""
    below, seen = worked_on(caller), in_sight(caller)
    pending = (Promotion.state == PromotionState.PENDING) & (Promotion.expires_at > now)
    statement = select(
        select(func.count()).select_from(Prefix).where(seen).scalar_subquery(),
        _below(Version, below),
        select(func.count())
        .select_from(Revocation)
        .join(Version, Version.id == Revocation.version_id)
        .join(Version.prefix)
        .where(below)
        .scalar_subquery(),
        _below(Channel, below),
        _below(Channel, below & (Channel.generation > 0)),
        select(func.count())
        .select_from(Promotion)
        .join(Promotion.channel)
        .join(Channel.prefix)
        .where(below, pending)
        .scalar_subquery(),
    )
    return Counts(*session.execute(statement).one())


def _below(table: type[Version | Channel], where: ColumnElement[bool]) -> ScalarSelect[int]:
    statement = select(func.count()).select_from(table).join(table.prefix)
    return statement.where(where).scalar_subquery()


@dataclass(frozen=True, slots=True)
class FailingRule:
    """A rule that keeps gates shut: on how many requests, by how many findings."""

    rule: str
    requests: int
    findings: int


def failing_rules(
    session: Session, caller: Caller, *, since: datetime, limit: int = 8
) -> Sequence[FailingRule]:
    """Return the rules that shut the gate on requests made since then, the most frequent first."""
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
            worked_on(caller),
            Promotion.created_at >= since,
            Promotion.decision["result"].astext == Result.FAILED,
            outcome.in_([Outcome.FAILED, Outcome.MISSING]),
        )
        .group_by(rule)
        .order_by(requests.desc(), func.count().desc(), rule)
        .limit(limit)
    )
    return [FailingRule(*row) for row in session.execute(statement)]
