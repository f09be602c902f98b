"""Requesting promotions, withdrawing them, and breaking the glass."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from app.db import audit
from app.db.channels import allocation_of, lock_channel
from app.db.models import Channel, Promotion, PromotionShare, Version
from app.db.prefixes import lock_prefix
from app.db.promotions import decision_document, promotion_by_id, promotion_in_sight
from app.db.session import Sessions, present
from app.db.versions import versions_numbered
from app.domain.access import Caller, Role, nothing_named
from app.domain.allocation import Allocation, allocation_faults
from app.domain.audit import Facts, happened, subject_of
from app.domain.errors import (
    ForbiddenError,
    GateNotPassedError,
    InvalidAllocationError,
    InvalidTransitionError,
    NothingToChangeError,
    UnknownReferenceError,
)
from app.domain.gate import Decision, Result
from app.domain.identity import Json, PrefixName
from app.domain.lifecycle import GenerationKind, PromotionState
from app.services.channels import require_enough
from app.services.execution import Move, close, execute, record, require_not_revoked
from app.services.gates import not_configured
from app.services.judgement import Judgement, judge
from app.services.reviewers import reviewers_of
from app.services.sight import lock_prefix_as

_REQUEST_LIFETIME: Final = timedelta(days=30)


def request(
    sessions: Sessions,
    *,
    prefix: PrefixName,
    channel_name: str,
    wanted: Allocation,
    reason: str,
    caller: Caller,
    now: datetime,
) -> Promotion:
    """Ask for a channel to serve `wanted`; the gate decides at once whether people may.

    Raises:
        NotFoundError: There is no such prefix for this caller.
        ForbiddenError: The caller does not publish here.
        GateNotConfiguredError: The channel has no policy, so it is closed.
        InvalidAllocationError: The weights are no split of all traffic.
        UnknownReferenceError: A version does not exist.
        VersionRevokedError: A version was revoked.
        NothingToChangeError: The channel serves exactly that.
        GateNotPassedError: The evidence falls short; the refusal is on the audit log.
        PolicyUnsatisfiableError: Too few reviewers remain once contributors are excluded.
    """
    if faults := allocation_faults(wanted):
        raise InvalidAllocationError("The allocation is refused; see faults.", faults)
    with sessions.begin() as session:
        lock_prefix_as(Role.PUBLISHER, session, caller, prefix)
        channel = _channel(session, prefix, channel_name)
        versions = _versions(session, prefix, wanted)
        if set(wanted) == set(allocation_of(session, channel)):
            raise NothingToChangeError(f"{channel_name} of {prefix} serves exactly that already.")
        judgement = judge(session, channel, wanted, versions, now=now)
        if judgement.decision.result is Result.PASSED:
            promotion = _open(session, channel, wanted, versions, judgement, reason, caller, now)
            return present(promotion_by_id(session, promotion.id))
        _append_refusal(session, prefix, channel, wanted, versions, judgement, caller, now)
    raise not_passed(judgement.decision)


def withdraw(sessions: Sessions, *, promotion_id: UUID, caller: Caller, now: datetime) -> Promotion:
    """Take a request back.

    Raises:
        NotFoundError: There is no such promotion for this caller.
        ForbiddenError: Somebody else requested it.
        InvalidTransitionError: It has ended already, or expired.
    """
    with sessions.begin() as session:
        promotion = lock_promotion(session, caller, promotion_id)
        if promotion.requested_by_id != caller.id:
            by = promotion.requested_by.name
            raise ForbiddenError(f"{by} requested this promotion; only {by} can withdraw it.")
        _require_in_time(promotion, now)
        close(promotion, PromotionState.WITHDRAWN, "The requester withdrew it.", now)
        record(session, promotion, "promotion.withdraw", {}, caller, now)
        return promotion


def break_glass(
    sessions: Sessions, *, promotion_id: UUID, reason: str, caller: Caller, now: datetime
) -> Promotion:
    """Execute a pending promotion without gate or approvals, marked so for ever.

    Raises:
        NotFoundError: There is no such promotion for this caller.
        ForbiddenError: The caller is no admin here.
        InvalidTransitionError: The promotion has ended already, or expired.
        VersionRevokedError: A version in it was revoked.
    """
    with sessions.begin() as session:
        promotion = lock_promotion(session, caller, promotion_id)
        caller.require(Role.ADMIN, promotion.channel.prefix.full_name)
        _require_in_time(promotion, now)
        shares = [(share.version, share.weight) for share in promotion.shares]
        promotion.break_glass = True
        move = Move(GenerationKind.BREAK_GLASS, shares, reason, promotion)
        execute(session, promotion.channel, move, caller=caller, now=now)
        return present(promotion_by_id(session, promotion_id))


def lock_promotion(session: Session, caller: Caller, promotion_id: UUID) -> Promotion:
    """Return a promotion with its prefix and channel locked, in the order all writes take.

    Raises:
        NotFoundError: It does not exist, or looks so to this caller.
    """
    found = promotion_in_sight(session, caller, promotion_id)
    if found is None:
        raise nothing_named("promotion", str(promotion_id))
    prefix = found.channel.prefix.full_name
    lock_prefix(session, prefix)
    lock_channel(session, prefix, found.channel.name)
    return present(promotion_by_id(session, promotion_id))


def is_overdue(promotion: Promotion, now: datetime) -> bool:
    return promotion.state is PromotionState.PENDING and promotion.expires_at <= now


def _require_in_time(promotion: Promotion, now: datetime) -> None:
    if is_overdue(promotion, now):
        message = f"The promotion expired at {promotion.expires_at.isoformat()}; request a new one."
        raise InvalidTransitionError(message, state=PromotionState.EXPIRED.value)


def not_passed(decision: Decision) -> GateNotPassedError:
    closing = [finding for finding in decision.findings if finding.closes]
    first = "; ".join(finding.message for finding in closing[:3])
    more = f" (and {len(closing) - 3} more)" if len(closing) > 3 else ""  # noqa: PLR2004
    findings = decision_document(decision)["findings"]
    return GateNotPassedError(f"{len(closing)} findings: {first}{more}", findings=findings)


def _channel(session: Session, prefix: PrefixName, name: str) -> Channel:
    channel = lock_channel(session, prefix, name)
    if channel is None:
        raise not_configured(prefix, name)
    return channel


def _versions(session: Session, prefix: PrefixName, wanted: Allocation) -> Mapping[int, Version]:
    versions = versions_numbered(session, prefix, [share.version for share in wanted])
    for share in wanted:
        if share.version not in versions:
            raise UnknownReferenceError(f"There is no version {share.version} of {prefix}.")
        require_not_revoked(versions[share.version])
    return versions


def _open(
    session: Session,
    channel: Channel,
    wanted: Allocation,
    versions: Mapping[int, Version],
    judgement: Judgement,
    reason: str,
    caller: Caller,
    now: datetime,
) -> Promotion:
    promotion = Promotion(
        channel_id=channel.id,
        reason=reason,
        state=PromotionState.PENDING,
        requested_by_id=caller.id,
        policy_id=channel.policy_id,
        decision=decision_document(judgement.decision),
        evidence_digest=judgement.decision.evidence_digest,
        subject_digest=judgement.subject_digest,
        created_at=now,
        expires_at=now + _REQUEST_LIFETIME,
        shares=[PromotionShare(versions[s.version].id, s.weight) for s in wanted],
    )
    session.add(promotion)
    session.flush()
    promotion = present(promotion_by_id(session, promotion.id))
    reviewers = reviewers_of(session, [promotion], now=now)[promotion.id]
    require_enough(len(reviewers.eligible), reviewers.required, channel.prefix.namespace)
    facts: Facts = {
        "allocation": _allocation_facts(wanted, versions),
        "evidence_digest": promotion.evidence_digest,
        "policy_digest": channel.policy.digest,
        "reason": reason,
    }
    record(session, promotion, "promotion.request", facts, caller, now)
    if reviewers.required == 0:
        shares = [(versions[share.version], share.weight) for share in wanted]
        move = Move(GenerationKind.PROMOTION, shares, reason, promotion)
        execute(session, channel, move, caller=caller, now=now)
    return promotion


def _append_refusal(
    session: Session,
    prefix: PrefixName,
    channel: Channel,
    wanted: Allocation,
    versions: Mapping[int, Version],
    judgement: Judgement,
    caller: Caller,
    now: datetime,
) -> None:
    decision = judgement.decision
    facts: Facts = {
        "channel": channel.name,
        "allocation": _allocation_facts(wanted, versions),
        "evidence_digest": decision.evidence_digest,
        "policy_digest": channel.policy.digest,
        "unmet": [f"{each.rule}: {each.message}" for each in decision.findings if each.closes],
    }
    event = happened(subject_of(prefix), "promotion.refuse", facts, caller=caller, now=now)
    audit.append(session, event)


def _allocation_facts(wanted: Allocation, versions: Mapping[int, Version]) -> list[Json]:
    return [
        {
            "version": share.version,
            "digest": versions[share.version].digest,
            "weight": share.weight,
        }
        for share in wanted
    ]
