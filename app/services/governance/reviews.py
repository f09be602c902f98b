"""Reviewing promotions: the last approval executes a promotion, and one rejection ends it."""

from uuid import UUID

from app.db.models import Principal, Promotion, ReviewRow
from app.domain.audit.chain import Facts
from app.domain.errors import (
    AlreadyReviewedError,
    InvalidTransitionError,
    SeparationOfDutiesError,
    SubjectChangedError,
)
from app.domain.governance.approvals import (
    Reviewer,
    Verdict,
    repeat_approval_refusal,
    review_refusal_reason,
)
from app.domain.governance.gate import Decision, GateResult
from app.domain.governance.lifecycle import PromotionState, require_move
from app.domain.identity.access import Caller, Role
from app.services.governance.approval_status import (
    ApprovalContext,
    ApprovalStatus,
    approval_context_of,
)
from app.services.governance.execution import close, execute_or_schedule, expire, is_overdue, record
from app.services.governance.gate import reevaluate
from app.services.governance.promotions import begin_on_promotion, not_passed
from app.services.transactions import Transaction, Transactions


def review(
    transactions: Transactions,
    *,
    promotion_id: UUID,
    verdict: Verdict,
    comment: str,
    subject_digest: str | None = None,
) -> Promotion:
    """Approve or reject a pending promotion.

    For an approval, the gate is re-evaluated first, under the channel's lock. The last approval
    that the policy requires executes the promotion in the same transaction, or schedules it for
    the end of the policy's wait. With `subject_digest`, the approval is of exactly that subject.

    Raises:
        NotFoundError: The promotion does not exist, or is not visible to the caller.
        SeparationOfDutiesError: The caller contributed to the promotion, or the policy requires a
            human reviewer and the caller is not one.
        ForbiddenError: The caller is not an approver of this prefix.
        InvalidTransitionError: The promotion is no longer pending.
        AlreadyReviewedError: The caller has already approved this subject.
        SubjectChangedError: The promotion's subject no longer has the digest `subject_digest`.
        GateNotPassedError: The evidence is no longer sufficient; nothing was recorded.
    """
    with begin_on_promotion(transactions, f"promotion.{verdict.value}", promotion_id) as (
        transaction,
        promotion,
    ):
        expired = None
        if is_overdue(promotion, transaction.now):
            expired = expire(transaction, promotion)
        else:
            _decide(transaction, promotion, verdict, comment, subject_digest)
    if expired is not None:
        raise InvalidTransitionError(f"The promotion has expired. {expired}", state="expired")
    return promotion


def _decide(
    transaction: Transaction,
    promotion: Promotion,
    verdict: Verdict,
    comment: str,
    subject_digest: str | None,
) -> None:
    session, caller, now = transaction.session, transaction.caller, transaction.now
    # Read once: recording an evaluation re-evaluates promotions at once. The re-evaluation below
    # can therefore use fewer evaluations, since old ones drop out, but no additional ones.
    context = approval_context_of(session, [promotion])
    _require_reviewer(context.status_of(promotion, now=now), promotion, caller)
    after = PromotionState.EXECUTED if verdict is Verdict.APPROVE else PromotionState.REJECTED
    require_move(promotion.state, after)
    if verdict is Verdict.APPROVE:
        decision = reevaluate(session, promotion, now=now).decision
        if subject_digest not in (None, promotion.subject_digest):
            raise SubjectChangedError(
                "The evidence, the policy or the incumbent has changed since you read the "
                "promotion; read it again, then review its current subject.",
                subject_digest=promotion.subject_digest,
            )
        if decision.result is not GateResult.PASSED:
            raise not_passed(decision)
        _approve(transaction, promotion, decision, context, comment)
    else:
        _record_review(transaction, promotion, verdict, comment)
        close(promotion, PromotionState.REJECTED, comment, now)


def _require_reviewer(state: ApprovalStatus, promotion: Promotion, caller: Caller) -> None:
    """Check separation of duties first: contributors then get a precise reason, not a 403."""
    reviewer = Reviewer(caller.name, caller.id, caller.kind)
    if refusal_reason := review_refusal_reason(state.approvals, reviewer, state.contributors):
        raise SeparationOfDutiesError(refusal_reason)
    caller.require(Role.APPROVER, promotion.channel.prefix.full_name)


def _approve(
    transaction: Transaction,
    promotion: Promotion,
    decision: Decision,
    context: ApprovalContext,
    comment: str,
) -> None:
    """Record an approval of the re-evaluated subject, and execute if it was the last one.

    After an approval, the reviewer may still reject, but cannot approve twice.
    """
    caller, now = transaction.caller, transaction.now
    if caller.id in context.status_of(promotion, now=now).approved:
        raise AlreadyReviewedError(repeat_approval_refusal(caller.name))
    _record_review(transaction, promotion, Verdict.APPROVE, comment)
    execute_or_schedule(transaction, promotion, decision, context.status_of(promotion, now=now))


def _record_review(
    transaction: Transaction, promotion: Promotion, verdict: Verdict, comment: str
) -> None:
    session, caller = transaction.session, transaction.caller
    subject = promotion.subject_digest
    row = ReviewRow(caller.id, verdict, comment, subject, transaction.now)
    row.reviewer = session.get_one(Principal, caller.id)
    promotion.reviews.append(row)
    session.flush()
    facts: Facts = {
        "subject_digest": subject,
        "evidence_digest": promotion.evidence_digest,
        "comment": comment,
    }
    record(transaction, promotion, f"promotion.{verdict.value}", facts)
