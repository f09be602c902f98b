"""Execution: the only place where a channel's generations are created."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app.db import audit
from app.db.models import Channel, Generation, GenerationShare, Promotion, Version
from app.db.promotions import pending_on
from app.domain.audit.chain import Facts, audit_event, subject_of
from app.domain.errors import VersionRevokedError
from app.domain.governance.lifecycle import GenerationKind, PromotionState, require_move
from app.domain.identity.access import Caller
from app.domain.naming import Json
from app.services.governance.approval_status import ApprovalStatus


@dataclass(frozen=True, slots=True)
class Move:
    """A change of a channel's allocation: the new shares, the kind and the reason."""

    kind: GenerationKind
    shares: Sequence[tuple[Version, int]]
    reason: str
    promotion: Promotion | None = None

    @classmethod
    def of(cls, promotion: Promotion, kind: GenerationKind, reason: str) -> "Move":
        """Return the move that executes a promotion."""
        shares = [(share.version, share.weight) for share in promotion.shares]
        return cls(kind, shares, reason, promotion)


def allocation_facts(shares: Iterable[tuple[Version, int]]) -> list[Json]:
    """Return an allocation in the form that audit entries record."""
    return [
        {"version": version.number, "digest": version.digest, "weight": weight}
        for version, weight in shares
    ]


def execute(
    session: Session, channel: Channel, move: Move, *, caller: Caller, now: datetime
) -> Generation:
    """Create the channel's next generation and its audit entry, in the caller's transaction.

    The caller holds the locks of the prefix and the channel. Other promotions pending on the
    channel are superseded, because they were evaluated against the previous allocation.

    Raises:
        VersionRevokedError: The move would serve a revoked version.
    """
    for version, _ in move.shares:
        require_not_revoked(version)
    channel.generation += 1
    generation = Generation(
        channel_id=channel.id,
        number=channel.generation,
        kind=move.kind,
        promotion_id=None if move.promotion is None else move.promotion.id,
        reason=move.reason,
        executed_at=now,
        executed_by_id=caller.id,
        shares=[GenerationShare(version.id, weight) for version, weight in move.shares],
    )
    session.add(generation)
    if move.promotion is not None:
        close(move.promotion, PromotionState.EXECUTED, move.reason, now)
    _append_entry(session, channel, move, caller, now)
    for promotion in pending_on(session, channel):
        reason = f"Generation {channel.generation} of {channel.name} was executed."
        close(promotion, PromotionState.SUPERSEDED, reason, now)
        record(session, promotion, "promotion.supersede", {"reason": reason}, caller, now)
    return generation


def close(promotion: Promotion, state: PromotionState, reason: str, now: datetime) -> None:
    """End a pending promotion.

    Raises:
        InvalidTransitionError: The promotion is no longer pending.
    """
    require_move(promotion.state, state)
    promotion.state, promotion.closed_at, promotion.closing_reason = state, now, reason


def record(
    session: Session,
    promotion: Promotion,
    action: str,
    facts: Facts,
    caller: Caller,
    now: datetime,
) -> None:
    """Append an audit entry about a promotion to its prefix's chain."""
    shared: dict[str, Json] = {"promotion_id": str(promotion.id), "channel": promotion.channel.name}
    subject = subject_of(promotion.channel.prefix.full_name)
    event = audit_event(subject, action, shared | dict(facts), caller=caller, now=now)
    audit.append(session, event)


def require_not_revoked(version: Version) -> None:
    if version.revocation is not None:
        raise VersionRevokedError(
            f"Version {version.number} was revoked: {version.revocation.reason}",
            version=version.number,
        )


_ACTIONS = {
    GenerationKind.PROMOTION: "promotion.execute",
    GenerationKind.BREAK_GLASS: "promotion.break-glass",
    GenerationKind.ROLLBACK: "channel.rollback",
    GenerationKind.REVOCATION: "channel.withdraw",
}


def _append_entry(
    session: Session, channel: Channel, move: Move, caller: Caller, now: datetime
) -> None:
    facts: Facts = {
        "channel": channel.name,
        "channel_id": str(channel.id),
        "generation": channel.generation,
        "reason": move.reason,
        "allocation": allocation_facts(move.shares),
        "promotion_id": None if move.promotion is None else str(move.promotion.id),
    }
    subject = subject_of(channel.prefix.full_name)
    event = audit_event(subject, _ACTIONS[move.kind], facts, caller=caller, now=now)
    audit.append(session, event)


def execute_or_schedule(
    session: Session, promotion: Promotion, state: ApprovalStatus, *, caller: Caller, now: datetime
) -> None:
    """Execute the promotion if nothing is missing; if only its wait remains, schedule it.

    The caller holds the locks of the prefix and the channel, the gate has just passed, and
    `state` is the current approval status.
    """
    promotion.due_at = None
    if state.approvals_missing:
        return
    if now < state.not_before:
        promotion.due_at = state.not_before
        return
    move = Move.of(promotion, GenerationKind.PROMOTION, promotion.reason)
    execute(session, promotion.channel, move, caller=caller, now=now)


def expire(session: Session, promotion: Promotion, *, caller: Caller, now: datetime) -> str:
    """End an overdue promotion; return the reason."""
    reason = f"It was not executed before {promotion.expires_at.isoformat()}."
    close(promotion, PromotionState.EXPIRED, reason, now)
    record(session, promotion, "promotion.expire", {"reason": reason}, caller, now)
    return reason


def is_overdue(promotion: Promotion, now: datetime) -> bool:
    return promotion.state is PromotionState.PENDING and promotion.expires_at <= now
