"""Break-glass: an admin executes without gate, approvals or wait, permanently marked as such."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.models import Promotion
from app.db.promotions import promotion_by_id
from app.db.session import Sessions, expect
from app.domain.errors import Fault, InvalidRequestError
from app.domain.governance.allocation import Allocation
from app.domain.governance.lifecycle import (
    MIN_REASON_CHARACTERS,
    GenerationKind,
    PromotionState,
    require_move,
)
from app.domain.identity.access import Caller, Role
from app.domain.naming import PrefixName
from app.services.governance.execution import Move, execute
from app.services.governance.promotions import (
    evaluate_request,
    lock_promotion,
    open_promotion,
    require_in_time,
    require_split,
)
from app.services.identity.visibility import lock_prefix_as


def break_glass(
    sessions: Sessions, *, promotion_id: UUID, reason: str, caller: Caller, now: datetime
) -> Promotion:
    """Execute a pending promotion at once.

    Raises:
        InvalidRequestError: The reason is too short.
        NotFoundError: The promotion does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not an admin of this prefix.
        InvalidTransitionError: The promotion is no longer pending, or has expired.
        VersionRevokedError: A version of the promotion is revoked.
    """
    _require_reason(reason)
    with sessions.begin() as session:
        promotion = lock_promotion(session, caller, promotion_id)
        caller.require(Role.ADMIN, promotion.channel.prefix.full_name)
        require_move(promotion.state, PromotionState.EXECUTED)
        require_in_time(promotion, now)
        return _execute(session, promotion, reason, caller, now)


def request_with_break_glass(
    sessions: Sessions,
    *,
    prefix: PrefixName,
    channel_name: str,
    wanted: Allocation,
    reason: str,
    caller: Caller,
    now: datetime,
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
    with sessions.begin() as session:
        lock_prefix_as(Role.ADMIN, session, caller, prefix)
        target = evaluate_request(session, prefix, channel_name, wanted, now)
        promotion = open_promotion(session, target, reason, caller, now)
        return _execute(session, promotion, reason, caller, now)


def _require_reason(reason: str) -> None:
    if len(reason.strip()) < MIN_REASON_CHARACTERS:
        message = f"Break-glass requires a reason of at least {MIN_REASON_CHARACTERS} characters."
        raise InvalidRequestError(message, [Fault("reason-too-short", message)])


def _execute(
    session: Session, promotion: Promotion, reason: str, caller: Caller, now: datetime
) -> Promotion:
    promotion.break_glass = True
    move = Move.of(promotion, GenerationKind.BREAK_GLASS, reason)
    execute(session, promotion.channel, move, caller=caller, now=now)
    return expect(promotion_by_id(session, promotion.id))
