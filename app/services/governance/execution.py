"""Execution: the only place where a channel's generations are created."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.db.models import Channel, Generation, GenerationShare, Promotion, Version
from app.db.promotions import pending_on
from app.db.versions import lock_contents
from app.domain.audit.chain import Facts
from app.domain.errors import VersionRevokedError
from app.domain.governance.gate import Decision, GateResult
from app.domain.governance.lifecycle import GenerationKind, PromotionState, require_move
from app.domain.naming import Json
from app.services.governance.approval_status import ApprovalStatus
from app.services.transactions import Transaction


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


def execute(transaction: Transaction, channel: Channel, move: Move) -> Generation:
    """Create the channel's next generation and its audit entry.

    The transaction holds the locks of the prefix and the channel. Other promotions pending on the
    channel are superseded, because they were evaluated against the previous allocation.

    Raises:
        VersionRevokedError: The move would serve a revoked version.
    """
    session, now = transaction.session, transaction.now
    versions = [version for version, _ in move.shares]
    if move.kind is not GenerationKind.REVOCATION:  # which adds no content to a channel
        revoked = lock_contents(session, [version.content for version in versions])
        require_none_revoked(versions, revoked)
    channel.generation += 1
    generation = Generation(
        channel_id=channel.id,
        number=channel.generation,
        kind=move.kind,
        promotion_id=None if move.promotion is None else move.promotion.id,
        reason=move.reason,
        executed_at=now,
        executed_by_id=transaction.caller.id,
        shares=[GenerationShare(version.id, weight) for version, weight in move.shares],
    )
    session.add(generation)
    if move.promotion is not None:
        close(move.promotion, PromotionState.EXECUTED, move.reason, now)
    _record_move(transaction, channel, move)
    for promotion in pending_on(session, channel):
        reason = f"Generation {channel.generation} of {channel.name} was executed."
        close(promotion, PromotionState.SUPERSEDED, reason, now)
        record(transaction, promotion, "promotion.supersede", {"reason": reason})
    return generation


def close(promotion: Promotion, state: PromotionState, reason: str, now: datetime) -> None:
    """End a pending promotion.

    Raises:
        InvalidTransitionError: The promotion is no longer pending.
    """
    require_move(promotion.state, state)
    promotion.state, promotion.closed_at, promotion.closing_reason = state, now, reason


def record(transaction: Transaction, promotion: Promotion, action: str, facts: Facts) -> None:
    """Append an audit entry about a promotion to its prefix's chain."""
    shared: dict[str, Json] = {"promotion_id": str(promotion.id), "channel": promotion.channel.name}
    transaction.record(action, shared | dict(facts))


def require_not_revoked(version: Version) -> None:
    """Check a version with its prefix and its revocation, as they were loaded.

    Raises:
        VersionRevokedError: The content of the version is revoked.
    """
    if version.revocation is not None:
        reason = version.revocation.reason_in(version.prefix.namespace)
        message = f"Version {version.number} was revoked: {reason}"
        raise VersionRevokedError(message, version=version.number)


def require_none_revoked(versions: Iterable[Version], revoked: Collection[str]) -> None:
    """Check versions against the contents that are revoked now.

    Raises:
        VersionRevokedError: The content of a version is among them.
    """
    for version in versions:
        if version.content in revoked:
            message = f"Version {version.number} was revoked a moment ago."
            raise VersionRevokedError(message, version=version.number)


_ACTIONS = {
    GenerationKind.PROMOTION: "promotion.execute",
    GenerationKind.BREAK_GLASS: "promotion.break-glass",
    GenerationKind.ROLLBACK: "channel.rollback",
    GenerationKind.REVOCATION: "channel.withdraw",
}


def _record_move(transaction: Transaction, channel: Channel, move: Move) -> None:
    facts: Facts = {
        "channel": channel.name,
        "channel_id": str(channel.id),
        "generation": channel.generation,
        "reason": move.reason,
        "allocation": allocation_facts(move.shares),
        "promotion_id": None if move.promotion is None else str(move.promotion.id),
    }
    transaction.record(_ACTIONS[move.kind], facts)


def execute_or_schedule(
    transaction: Transaction, promotion: Promotion, decision: Decision, status: ApprovalStatus
) -> None:
    """Execute the promotion if nothing is missing; if only its wait remains, schedule it.

    All ways to execute a promotion end here or in `execute_by_break_glass`. The transaction holds
    the locks of the prefix and the channel, and has evaluated the gate and the approvals.
    """
    promotion.due_at = None
    if decision.result is not GateResult.PASSED or status.approvals_missing:
        return
    if transaction.now < status.not_before:
        promotion.due_at = status.not_before
        return
    move = Move.of(promotion, GenerationKind.PROMOTION, promotion.reason)
    execute(transaction, promotion.channel, move)


def execute_by_break_glass(transaction: Transaction, promotion: Promotion, reason: str) -> None:
    """Execute the promotion whatever gate, approvals and wait say, and mark it permanently."""
    promotion.break_glass = True
    execute(transaction, promotion.channel, Move.of(promotion, GenerationKind.BREAK_GLASS, reason))


def expire(transaction: Transaction, promotion: Promotion) -> str:
    """End an overdue promotion; return the reason."""
    reason = f"It was not executed before {promotion.expires_at.isoformat()}."
    close(promotion, PromotionState.EXPIRED, reason, transaction.now)
    record(transaction, promotion, "promotion.expire", {"reason": reason})
    return reason


def is_overdue(promotion: Promotion, now: datetime) -> bool:
    return promotion.state is PromotionState.PENDING and promotion.expires_at <= now
