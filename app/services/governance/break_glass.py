"""Breaking the glass: an admin executes without gate, approvals or wait, marked so for ever."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.models import Promotion
from app.db.promotions import promotion_by_id
from app.db.session import Sessions, expect
from app.domain.errors import Fault, InvalidRequestError
from app.domain.governance.allocation import Allocation
from app.domain.governance.lifecycle import (
    SHORTEST_EXCUSE,
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
    """Execute a pending promotion as it stands.

    Raises:
        InvalidRequestError: The reason is too short to be one.
        NotFoundError: There is no such promotion for this caller.
        ForbiddenError: The caller is no admin here.
        InvalidTransitionError: The promotion has ended already, or expired.
        VersionRevokedError: A version in it was revoked.
    """
    _require_excuse(reason)
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
    """Make a channel serve `wanted` at once, whatever the gate says; its answer is kept.

    This is for what no request can be made for, because the gate is shut.

    Raises:
        InvalidRequestError: The reason is too short to be one.
        NotFoundError: There is no such prefix for this caller.
        ForbiddenError: The caller is no admin here.
        GateNotConfiguredError: The channel has no policy, so it is closed.
        InvalidAllocationError: The weights are no split of all traffic.
        UnknownReferenceError: A version does not exist.
        VersionRevokedError: A version was revoked.
        NothingToChangeError: The channel serves exactly that.
    """
    _require_excuse(reason)
    require_split(wanted)
    with sessions.begin() as session:
        lock_prefix_as(Role.ADMIN, session, caller, prefix)
        target = evaluate_request(session, prefix, channel_name, wanted, now)
        promotion = open_promotion(session, target, reason, caller, now)
        return _execute(session, promotion, reason, caller, now)


def _require_excuse(reason: str) -> None:
    if len(reason.strip()) < SHORTEST_EXCUSE:
        message = f"Breaking the glass takes a reason of {SHORTEST_EXCUSE} characters or more."
        raise InvalidRequestError(message, [Fault("reason-too-short", message)])


def _execute(
    session: Session, promotion: Promotion, reason: str, caller: Caller, now: datetime
) -> Promotion:
    promotion.break_glass = True
    move = Move.of(promotion, GenerationKind.BREAK_GLASS, reason)
    execute(session, promotion.channel, move, caller=caller, now=now)
    return expect(promotion_by_id(session, promotion.id))
