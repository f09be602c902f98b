"""Due promotions: executing those whose wait is over, and expiring those past their deadline."""

import logging
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from app.db.models import Promotion
from app.db.promotions import due_promotions
from app.db.session import Sessions
from app.domain.audit.chain import Facts
from app.domain.governance.lifecycle import PromotionState
from app.services.governance.approval_status import approval_status_of
from app.services.governance.execution import execute_or_schedule, expire, is_overdue, record
from app.services.governance.gate import reevaluate
from app.services.governance.promotions import begin_on_promotion
from app.services.transactions import Transaction, Transactions, transactions_of_server

_BATCH: Final = 100
_log = logging.getLogger(__name__)


def process_due(sessions: Sessions) -> int:
    """Execute due promotions and expire overdue ones; return the number of promotions examined.

    Each promotion has its own transaction and is checked again under its lock. Several servers may
    therefore process promotions at the same time, and a failure affects only one promotion.
    """
    with sessions() as session:
        due = due_promotions(session, limit=_BATCH)
    transactions = transactions_of_server(sessions)
    for promotion_id in due:
        try:
            _process(transactions, promotion_id)
        except SQLAlchemyError as error:
            # A lock was not free in time: the next round retries the promotion.
            _log.warning(
                "promotion %s could not be processed yet: %s", promotion_id, type(error).__name__
            )
        except Exception:  # noqa: BLE001 - logged with its traceback
            # It must not hold up the promotions behind it in every round.
            _log.exception("promotion %s could not be processed", promotion_id)
    return len(due)


def _process(transactions: Transactions, promotion_id: UUID) -> None:
    with begin_on_promotion(transactions, "promotion.execute", promotion_id) as (
        transaction,
        promotion,
    ):
        if is_overdue(promotion, transaction.now):
            expire(transaction, promotion)
        elif promotion.state is PromotionState.PENDING and _is_due(promotion, transaction.now):
            _end_wait(transaction, promotion)


def _is_due(promotion: Promotion, now: datetime) -> bool:
    return promotion.due_at is not None and promotion.due_at <= now


def _end_wait(transaction: Transaction, promotion: Promotion) -> None:
    """Execute the promotion, or hold it if the gate no longer passes or approvals have lapsed."""
    session, now = transaction.session, transaction.now
    decision = reevaluate(session, promotion, now=now).decision
    status = approval_status_of(session, [promotion], now=now)[promotion.id]
    execute_or_schedule(transaction, promotion, decision, status)
    if promotion.state is PromotionState.PENDING:
        missing: Facts = decision.shortfalls | {"approvals_missing": status.approvals_missing}
        record(transaction, promotion, "promotion.hold", missing)
