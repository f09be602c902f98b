"""Requesting promotions and withdrawing them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.channels import allocation_of, lock_channel
from app.db.models import Channel, Principal, Promotion, PromotionShare, Version
from app.db.prefixes import lock_prefix
from app.db.promotions import decision_document, promotion_by_id
from app.db.session import expect
from app.db.versions import versions_numbered
from app.domain.audit.chain import Facts, subject_of
from app.domain.errors import (
    ForbiddenError,
    GateNotPassedError,
    InvalidAllocationError,
    InvalidTransitionError,
    NothingToChangeError,
    UnknownReferenceError,
)
from app.domain.governance.allocation import Allocation, allocation_faults
from app.domain.governance.gate import Decision, GateResult
from app.domain.governance.lifecycle import PromotionState
from app.domain.governance.policies import REQUEST_LIFETIME
from app.domain.identity.access import Requirement, Role, role_on
from app.domain.naming import Json, PrefixName
from app.services.governance.approval_status import approval_status_of
from app.services.governance.channels import require_enough
from app.services.governance.execution import (
    allocation_facts,
    close,
    execute_or_schedule,
    is_overdue,
    record,
    require_not_revoked,
)
from app.services.governance.gate import GateEvaluation, evaluate, not_configured
from app.services.identity.visibility import lock_existing_prefix, visible_promotion_place
from app.services.transactions import Transaction, Transactions


def request(
    transactions: Transactions,
    *,
    prefix: PrefixName,
    channel_name: str,
    wanted: Allocation,
    reason: str,
) -> Promotion:
    """Request that a channel serve `wanted`; the gate is evaluated before any review.

    Raises:
        NotFoundError: The prefix does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not a publisher of this prefix.
        GateNotConfiguredError: The channel has no policy, so it is closed.
        InvalidAllocationError: The weights do not split all traffic.
        UnknownReferenceError: A version does not exist.
        VersionRevokedError: A version is revoked.
        NothingToChangeError: The channel already serves this allocation.
        GateNotPassedError: The evidence is insufficient; an audit entry records the refusal.
        PolicyUnsatisfiableError: Too few reviewers remain once contributors are excluded.
    """
    require_split(wanted)
    needs, subject = role_on(Role.PUBLISHER, prefix), subject_of(prefix)
    with transactions.begin("promotion.request", needs, subject=subject) as transaction:
        session, now = transaction.session, transaction.now
        lock_existing_prefix(session, prefix)
        target = evaluate_request(session, prefix, channel_name, wanted, now)
        if target.gate_evaluation.decision.result is GateResult.PASSED:
            promotion = open_promotion(transaction, target, reason)
            state = approval_status_of(session, [promotion], now=now)[promotion.id]
            require_enough(len(state.eligible), state.required, prefix.namespace)
            execute_or_schedule(transaction, promotion, target.gate_evaluation.decision, state)
            return promotion
        _record_refusal(transaction, target)
    raise not_passed(target.gate_evaluation.decision)


def withdraw(transactions: Transactions, *, promotion_id: UUID) -> Promotion:
    """Withdraw a pending promotion.

    Raises:
        NotFoundError: The promotion does not exist, or is not visible to the caller.
        ForbiddenError: The caller did not request the promotion.
        InvalidTransitionError: The promotion is no longer pending, or has expired.
    """
    with begin_on_promotion(transactions, "promotion.withdraw", promotion_id) as (
        transaction,
        promotion,
    ):
        if promotion.requested_by_id != transaction.caller.id:
            by = promotion.requested_by.name
            raise ForbiddenError(f"{by} requested this promotion; only {by} can withdraw it.")
        require_in_time(promotion, transaction.now)
        close(promotion, PromotionState.WITHDRAWN, "The requester withdrew it.", transaction.now)
        record(transaction, promotion, "promotion.withdraw", {})
        return promotion


@contextmanager
def begin_on_promotion(
    transactions: Transactions, purpose: str, promotion_id: UUID, *, role: Role | None = None
) -> Iterator[tuple[Transaction, Promotion]]:
    """Open a transaction on a promotion, with its prefix and its channel locked in this order.

    Raises:
        NotFoundError: The promotion does not exist, or is not visible to the caller.
        ForbiddenError: The caller lacks `role` on the prefix.
    """
    with transactions.read() as session:
        place = visible_promotion_place(session, transactions.caller, promotion_id)
    prefix, channel_name = place
    needs = _visible(prefix) if role is None else role_on(role, prefix)
    with transactions.begin(purpose, needs, subject=subject_of(prefix)) as transaction:
        lock_prefix(transaction.session, prefix)
        lock_channel(transaction.session, prefix, channel_name)
        yield transaction, expect(promotion_by_id(transaction.session, promotion_id))


def _visible(prefix: PrefixName) -> Requirement:
    return lambda caller: caller.require_visible(prefix)


def require_in_time(promotion: Promotion, now: datetime) -> None:
    if is_overdue(promotion, now):
        message = f"The promotion expired at {promotion.expires_at.isoformat()}; request a new one."
        raise InvalidTransitionError(message, state=PromotionState.EXPIRED.value)


def not_passed(decision: Decision) -> GateNotPassedError:
    unmet = decision.unmet
    first = "; ".join(finding.message for finding in unmet[:3])
    more = f" (and {len(unmet) - 3} more)" if len(unmet) > 3 else ""  # noqa: PLR2004
    findings = decision_document(decision)["findings"]
    counted = "1 finding" if len(unmet) == 1 else f"{len(unmet)} findings"
    return GateNotPassedError(f"{counted}: {first}{more}", findings=findings)


def require_split(wanted: Allocation) -> None:
    """Check that the weights split all traffic.

    Raises:
        InvalidAllocationError: They do not.
    """
    if faults := allocation_faults(wanted):
        raise InvalidAllocationError("The allocation is invalid; see faults.", faults)


@dataclass(frozen=True, slots=True)
class PromotionTarget:
    """A requested allocation of a channel, with its versions by number and the gate evaluation."""

    channel: Channel
    wanted: Allocation
    versions: Mapping[int, Version]
    gate_evaluation: GateEvaluation

    def shares(self) -> list[tuple[Version, int]]:
        """Return the requested versions with their weights, heaviest first."""
        ordered = sorted(self.wanted, key=lambda share: share.weight, reverse=True)
        return [(self.versions[share.version], share.weight) for share in ordered]

    def facts(self) -> dict[str, Json]:
        return {
            "allocation": allocation_facts(self.shares()),
            "evidence_digest": self.gate_evaluation.decision.evidence_digest,
            "policy_digest": self.channel.policy.digest,
        }


def evaluate_request(
    session: Session, prefix: PrefixName, channel_name: str, wanted: Allocation, now: datetime
) -> PromotionTarget:
    """Lock the channel and evaluate the gate for the requested allocation.

    Raises:
        GateNotConfiguredError: The channel has no policy, so it is closed.
        UnknownReferenceError: A version does not exist.
        VersionRevokedError: A version is revoked.
        NothingToChangeError: The channel already serves this allocation.
    """
    channel = lock_channel(session, prefix, channel_name)
    if channel is None:
        raise not_configured(prefix, channel_name)
    versions = _versions(session, prefix, wanted)
    current = allocation_of(session, channel)
    if set(wanted) == set(current):
        raise NothingToChangeError(f"{channel_name} of {prefix} already serves this allocation.")
    gate_evaluation = evaluate(session, channel, wanted, versions, current=current, now=now)
    return PromotionTarget(channel, wanted, versions, gate_evaluation)


def _versions(session: Session, prefix: PrefixName, wanted: Allocation) -> Mapping[int, Version]:
    versions = versions_numbered(session, prefix, [share.version for share in wanted])
    for share in wanted:
        if share.version not in versions:
            raise UnknownReferenceError(f"{prefix} has no version {share.version}.")
        require_not_revoked(versions[share.version])
    return versions


def open_promotion(transaction: Transaction, target: PromotionTarget, reason: str) -> Promotion:
    """Insert a pending promotion with its decision, and append its audit entry."""
    session, caller, now = transaction.session, transaction.caller, transaction.now
    decision = target.gate_evaluation.decision
    promotion = Promotion(
        channel_id=target.channel.id,
        reason=reason,
        state=PromotionState.PENDING,
        requested_by_id=caller.id,
        policy_id=target.channel.policy_id,
        decision=decision_document(decision),
        evidence_digest=decision.evidence_digest,
        subject_digest=target.gate_evaluation.subject_digest,
        subject_since=now,
        created_at=now,
        expires_at=now + REQUEST_LIFETIME,
        reviews=[],
    )
    # The response needs these objects, which are loaded already; a re-read takes three queries.
    promotion.channel = target.channel
    promotion.requested_by = session.get_one(Principal, caller.id)
    for version, weight in target.shares():
        share = PromotionShare(version.id, weight)
        share.version = version
        promotion.shares.append(share)
    session.add(promotion)
    session.flush()
    facts: Facts = target.facts() | {"reason": reason}
    record(transaction, promotion, "promotion.request", facts)
    return promotion


def _record_refusal(transaction: Transaction, target: PromotionTarget) -> None:
    unmet = target.gate_evaluation.decision.shortfalls
    facts: Facts = target.facts() | {"channel": target.channel.name} | unmet
    transaction.record("promotion.refuse", facts)
