"""Due promotions: executing those whose wait is over, and expiring those past their deadline."""

import logging
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.db.models import Promotion
from app.db.promotions import due_promotions
from app.db.session import Sessions
from app.domain.audit.chain import Facts
from app.domain.governance.gate import GateResult
from app.domain.governance.lifecycle import PromotionState
from app.domain.identity.access import SYSTEM
from app.services.governance.approval_status import approval_status_of
from app.services.governance.execution import execute_or_schedule, expire, is_overdue, record
from app.services.governance.gate import reevaluate
from app.services.governance.promotions import lock_promotion

_BATCH: Final = 100
_log = logging.getLogger(__name__)


def process_due(sessions: Sessions, *, now: datetime) -> int:
    """Execute due promotions and expire overdue ones; return the number of promotions examined.

    Each promotion has its own transaction and is checked again under its lock. Several servers may
    therefore process promotions at the same time, and a failure affects only one promotion.
    """
    with sessions() as session:
        due = due_promotions(session, now, limit=_BATCH)
    for promotion_id in due:
        try:
            _process(sessions, promotion_id, now)
        except SQLAlchemyError as error:
            # A lock was not free in time: the next round retries the promotion.
            _log.warning(
                "promotion %s could not be processed yet: %s", promotion_id, type(error).__name__
            )
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
    """Execute the promotion, or hold it for another review if the gate no longer passes."""
    decision = reevaluate(session, promotion, now=now).decision
    if decision.result is GateResult.PASSED:
        state = approval_status_of(session, [promotion], now=now)[promotion.id]
        execute_or_schedule(session, promotion, state, caller=SYSTEM, now=now)
        return
    promotion.due_at = None
    unmet: Facts = {"unmet": decision.shortfalls}
    record(session, promotion, "promotion.hold", unmet, SYSTEM, now)
