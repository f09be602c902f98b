"""What ends a pending promotion by itself: the last approval, the end of its wait, its age."""

from datetime import datetime

from sqlalchemy.orm import Session

from app.db.models import Promotion
from app.domain.access import Caller
from app.domain.lifecycle import GenerationKind, PromotionState
from app.services.execution import Move, close, execute, record
from app.services.reviewers import Reviewers


def complete(
    session: Session, promotion: Promotion, state: Reviewers, *, caller: Caller, now: datetime
) -> None:
    """Execute the promotion if it waits for nothing; if only for time, note when it is due.

    The caller holds the locks of prefix and channel, the gate has passed just now, and `state`
    is that of the approvals now.
    """
    promotion.due_at = None
    if state.lacking:
        return
    if now < state.not_before:
        promotion.due_at = state.not_before
        return
    move = Move.of(promotion, GenerationKind.PROMOTION, promotion.reason)
    execute(session, promotion.channel, move, caller=caller, now=now)


def expire(session: Session, promotion: Promotion, *, caller: Caller, now: datetime) -> str:
    """End an overdue promotion; return the reason."""
    reason = f"Nobody completed it before {promotion.expires_at.isoformat()}."
    close(promotion, PromotionState.EXPIRED, reason, now)
    record(session, promotion, "promotion.expire", {"reason": reason}, caller, now)
    return reason


def is_overdue(promotion: Promotion, now: datetime) -> bool:
    return promotion.state is PromotionState.PENDING and promotion.expires_at <= now
