"""Promotion queries: by id, pending, due, listed, and the stored form of decisions."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Text, and_, cast, literal, or_, select, true
from sqlalchemy.orm import (
    Session,
    contains_eager,
    defer,
    joinedload,
    selectinload,
    with_expression,
)

from app.db.clock import present_time
from app.db.models import Channel, Prefix, Promotion, PromotionShare, ReviewRow, Version
from app.db.paging import Page, PageRequest, page_of
from app.domain.governance.approvals import Verdict
from app.domain.governance.gate import GATE_V1, Decision
from app.domain.governance.lifecycle import PromotionState
from app.domain.identity.access import EVERYWHERE, Caller
from app.domain.naming import PrefixName

DECISION: Final = TypeAdapter(Decision)

# Fields of findings that decisions of the verifier's version 1 do not have.
_SINCE_V2: Final = ("runs", "level", "looks", "look", "confidence")

_ALL_RELATIONS = (
    joinedload(Promotion.channel).options(
        joinedload(Channel.policy), joinedload(Channel.prefix).joinedload(Prefix.owner)
    ),
    joinedload(Promotion.requested_by),
    selectinload(Promotion.shares)
    .joinedload(PromotionShare.version)
    .options(
        joinedload(Version.base_model),
        joinedload(Version.revocation),
        joinedload(Version.prefix),
    ),
    selectinload(Promotion.reviews).joinedload(ReviewRow.reviewer),
)

_FINDINGS: Final = literal("findings", Text)
_LISTED = (
    defer(Promotion.decision, raiseload=True),
    with_expression(Promotion.decision_outline, Promotion.decision.op("-")(_FINDINGS)),
    joinedload(Promotion.channel).options(joinedload(Channel.policy), joinedload(Channel.prefix)),
    joinedload(Promotion.requested_by),
    selectinload(Promotion.shares)
    .joinedload(PromotionShare.version)
    .load_only(Version.number, Version.content, raiseload=True),
    selectinload(Promotion.reviews).joinedload(ReviewRow.reviewer),
)
_WITH_DECISION = with_expression(Promotion.decision_json, cast(Promotion.decision, Text))


def promotion_by_id(session: Session, promotion_id: UUID) -> Promotion | None:
    return _one(session, Promotion.id == promotion_id)


def promotion_visible_to(session: Session, caller: Caller, promotion_id: UUID) -> Promotion | None:
    """Return a promotion that is visible to the caller.

    Hidden and missing promotions take the same queries, so that timing reveals nothing.
    """
    return _one(session, Promotion.id == promotion_id, _is_visible_to(caller))


def promotion_place_visible_to(
    session: Session, caller: Caller, promotion_id: UUID
) -> tuple[PrefixName, str] | None:
    """Return the prefix and the channel's name of a promotion that is visible to the caller."""
    statement = (
        select(Prefix.namespace, Prefix.name, Channel.name)
        .select_from(Promotion)
        .join(Promotion.channel)
        .join(Channel.prefix)
        .where(Promotion.id == promotion_id, _is_visible_to(caller))
    )
    row = session.execute(statement).one_or_none()
    return None if row is None else (PrefixName(row[0], row[1]), row[2])


def _one(session: Session, *where: ColumnElement[bool]) -> Promotion | None:
    statement = select(Promotion).where(*where).options(*_ALL_RELATIONS)
    fresh = statement.execution_options(populate_existing=True)
    return session.scalars(fresh).unique().one_or_none()


def _is_visible_to(caller: Caller) -> ColumnElement[bool]:
    namespaces = caller.fully_visible_namespaces()
    if EVERYWHERE in namespaces:
        return true()
    return Promotion.channel.has(Channel.prefix.has(Prefix.namespace.in_(namespaces)))


def pending_on(session: Session, channel: Channel) -> Sequence[Promotion]:
    return _pending(session, Promotion.channel_id == channel.id)


def pending_below(session: Session, prefix: Prefix) -> Sequence[Promotion]:
    below = select(Channel.id).where(Channel.prefix_id == prefix.id)
    return _pending(session, Promotion.channel_id.in_(below))


def _pending(session: Session, where: ColumnElement[bool]) -> Sequence[Promotion]:
    statement = (
        select(Promotion)
        .where(Promotion.state == PromotionState.PENDING, where)
        .order_by(Promotion.created_at, Promotion.id)
        .options(*_ALL_RELATIONS)
    )
    return session.scalars(statement).unique().all()


def due_promotions(session: Session, *, limit: int) -> Sequence[UUID]:
    """Return the pending promotions that are due for execution or past their expiry."""
    now = present_time()
    statement = (
        select(Promotion.id)
        .where(
            Promotion.state == PromotionState.PENDING,
            or_(Promotion.expires_at <= now, Promotion.due_at <= now),
        )
        .order_by(Promotion.created_at, Promotion.id)
        .limit(limit)
    )
    return session.scalars(statement).all()


def executed_with(session: Session, version: Version, *, limit: int = 20) -> Sequence[Promotion]:
    """Return the executed promotions that gave `version` traffic, latest first."""
    statement = (
        select(Promotion)
        .join(PromotionShare)
        .where(
            PromotionShare.version_id == version.id,
            Promotion.state == PromotionState.EXECUTED,
        )
        .order_by(Promotion.created_at.desc(), Promotion.id)
        .limit(limit)
        .options(
            joinedload(Promotion.channel),
            selectinload(Promotion.reviews).joinedload(ReviewRow.reviewer),
        )
    )
    return session.scalars(statement).unique().all()


def rejections_of(
    session: Session, channel: Channel, contents: Collection[str], *, before: datetime
) -> Sequence[tuple[str, ReviewRow]]:
    """Return the reviews that rejected contents on a channel before a moment, with the content."""
    statement = (
        select(Version.content, ReviewRow)
        .join(Promotion, ReviewRow.promotion_id == Promotion.id)
        .join(PromotionShare, PromotionShare.promotion_id == Promotion.id)
        .join(Version, PromotionShare.version_id == Version.id)
        .where(
            Promotion.channel_id == channel.id,
            Version.content.in_(contents),
            ReviewRow.verdict == Verdict.REJECT,
            ReviewRow.reviewed_at < before,
        )
        .order_by(ReviewRow.reviewed_at.desc(), ReviewRow.id)
        .limit(50)
        .options(joinedload(ReviewRow.reviewer))
    )
    return [(content, review) for content, review in session.execute(statement)]


def recent_requests(session: Session, prefix: Prefix, *, limit: int = 10) -> Sequence[Promotion]:
    """Return the latest promotions of a prefix, with channel and requester, in one query."""
    statement = (
        select(Promotion)
        .join(Promotion.channel)
        .where(Channel.prefix_id == prefix.id)
        .order_by(Promotion.created_at.desc(), Promotion.id)
        .limit(limit)
        .options(contains_eager(Promotion.channel), joinedload(Promotion.requested_by))
    )
    return session.scalars(statement).all()


def promotions_page(
    session: Session,
    caller: Caller,
    state: PromotionState | None,
    request: PageRequest,
    *,
    now: datetime,
    with_decisions: bool = False,
) -> Page[Promotion]:
    """Return the promotions that are visible to the caller, latest first.

    Each has the outline of its decision and, with `with_decisions`, the complete stored JSON.
    """
    statement = select(Promotion).options(*_LISTED).where(_is_visible_to(caller))
    if with_decisions:
        statement = statement.options(_WITH_DECISION)
    if state is not None:
        statement = statement.where(_is_in(state, now))
    key = [Promotion.created_at, Promotion.id]
    return page_of(session, statement, key, request, descending=True)


def _is_in(state: PromotionState, now: datetime) -> ColumnElement[bool]:
    """Return the condition for a state as displayed: an overdue promotion counts as expired."""
    stored = Promotion.state == state
    if state is PromotionState.PENDING:
        return and_(stored, Promotion.expires_at > now)
    if state is PromotionState.EXPIRED:
        overdue = and_(Promotion.state == PromotionState.PENDING, Promotion.expires_at <= now)
        return or_(stored, overdue)
    return stored


def decision_document(decision: Decision) -> dict[str, Any]:
    """Return the stored form of a decision, which for version 1 of the verifier is its own."""
    document: dict[str, Any] = DECISION.dump_python(decision, mode="json")
    if decision.verifier == GATE_V1:
        del document["incumbents"]
        for finding in document["findings"]:
            for name in _SINCE_V2:
                del finding[name]
    return document
