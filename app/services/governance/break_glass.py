"""Break-glass: an admin executes without gate, approvals or wait, permanently marked as such."""

from uuid import UUID

from app.db.models import Promotion
from app.db.promotions import promotion_by_id
from app.db.session import expect
from app.domain.audit.chain import subject_of
from app.domain.errors import Fault, InvalidRequestError
from app.domain.governance.allocation import Allocation
from app.domain.governance.lifecycle import (
    MIN_REASON_CHARACTERS,
    PromotionState,
    require_move,
)
from app.domain.identity.access import Role, role_on
from app.domain.naming import PrefixName
from app.services.governance.execution import execute_by_break_glass
from app.services.governance.promotions import (
    begin_on_promotion,
    evaluate_request,
    open_promotion,
    require_in_time,
    require_split,
)
from app.services.identity.visibility import lock_existing_prefix
from app.services.transactions import Transaction, Transactions


def break_glass(transactions: Transactions, *, promotion_id: UUID, reason: str) -> Promotion:
    """Execute a pending promotion at once.

    Raises:
        InvalidRequestError: The reason is too short.
        NotFoundError: The promotion does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not an admin of this prefix.
        InvalidTransitionError: The promotion is no longer pending, or has expired.
        VersionRevokedError: A version of the promotion is revoked.
    """
    _require_reason(reason)
    with begin_on_promotion(
        transactions, "promotion.break-glass", promotion_id, role=Role.ADMIN
    ) as (transaction, promotion):
        require_move(promotion.state, PromotionState.EXECUTED)
        require_in_time(promotion, transaction.now)
        return _execute(transaction, promotion, reason)


def request_with_break_glass(
    transactions: Transactions,
    *,
    prefix: PrefixName,
    channel_name: str,
    wanted: Allocation,
    reason: str,
) -> Promotion:
    """Make a channel serve `wanted` at once, even if the gate fails; its decision is recorded.

    Use this when a normal request is refused because the gate does not pass.

    Raises:
        InvalidRequestError: The reason is too short.
        NotFoundError: The prefix does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not an admin of this prefix.
        GateNotConfiguredError: The channel has no policy, so it is closed.
        InvalidAllocationError: The weights do not split all traffic.
        UnknownReferenceError: A version does not exist.
        VersionRevokedError: A version is revoked.
        NothingToChangeError: The channel already serves this allocation.
    """
    _require_reason(reason)
    require_split(wanted)
    needs, subject = role_on(Role.ADMIN, prefix), subject_of(prefix)
    with transactions.begin("promotion.break-glass", needs, subject=subject) as transaction:
        session = transaction.session
        lock_existing_prefix(session, prefix)
        target = evaluate_request(session, prefix, channel_name, wanted, transaction.now)
        return _execute(transaction, open_promotion(transaction, target, reason), reason)


def _require_reason(reason: str) -> None:
    if len(reason.strip()) < MIN_REASON_CHARACTERS:
        message = f"Break-glass requires a reason of at least {MIN_REASON_CHARACTERS} characters."
        raise InvalidRequestError(message, [Fault("reason-too-short", message)])


def _execute(transaction: Transaction, promotion: Promotion, reason: str) -> Promotion:
    execute_by_break_glass(transaction, promotion, reason)
    return expect(promotion_by_id(transaction.session, promotion.id))
