"""Promotions that time moves on: those whose wait is over, and those that nobody completed."""

import logging
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.db.models import Promotion
from app.db.promotions import moved_by_time
from app.db.session import Sessions
from app.domain.audit.chain import Facts
from app.domain.governance.gate import GateResult
from app.domain.governance.lifecycle import PromotionState
from app.domain.identity.access import SYSTEM
from app.services.governance.approval_status import approval_status_of
from app.services.governance.execution import execute_or_schedule, expire, is_overdue, record
from app.services.governance.gate import reevaluate
from app.services.governance.promotions import lock_promotion

_AT_ONCE: Final = 100
_log = logging.getLogger(__name__)


def process_due(sessions: Sessions, *, now: datetime) -> int:
    """Execute what is due and expire what is overdue; return how many promotions were met.

    Each is a transaction of its own and is looked at again under its lock, so several servers
    may settle at the same time, and one promotion's trouble is not that of the others.
    """
    with sessions() as session:
        due = moved_by_time(session, now, limit=_AT_ONCE)
    for promotion_id in due:
        try:
            _process(sessions, promotion_id, now)
        except SQLAlchemyError as error:
            # A lock that was not free in time: the next round meets the promotion again.
            _log.warning("promotion %s is not settled yet: %s", promotion_id, type(error).__name__)
    return len(due)


def _process(sessions: Sessions, promotion_id: UUID, now: datetime) -> None:
    with sessions.begin() as session:
        promotion = lock_promotion(session, SYSTEM, promotion_id)
        if is_overdue(promotion, now):
            expire(session, promotion, caller=SYSTEM, now=now)
        elif promotion.state is PromotionState.PENDING and _is_due(promotion, now):
            _end_wait(session, promotion, now)


def _is_due(promotion: Promotion, now: datetime) -> bool:
    return promotion.due_at is not None and promotion.due_at <= now


def _end_wait(session: Session, promotion: Promotion, now: datetime) -> None:
    """Execute the promotion, unless the gate has closed since: then people must look again."""
    decision = reevaluate(session, promotion, now=now).decision
    if decision.result is GateResult.PASSED:
        state = approval_status_of(session, [promotion], now=now)[promotion.id]
        execute_or_schedule(session, promotion, state, caller=SYSTEM, now=now)
        return
    promotion.due_at = None
    unmet: Facts = {"unmet": decision.shortfalls}
    record(session, promotion, "promotion.hold", unmet, SYSTEM, now)
