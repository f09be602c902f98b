"""Whether a caller may review a promotion, the reason if not, and its approval status."""

from dataclasses import dataclass
from datetime import datetime

from app.db.models import Promotion, ReviewRow
from app.domain.errors import RegistryError
from app.domain.governance.approvals import (
    Reviewer,
    Verdict,
    repeat_approval_refusal,
    review_refusal_reason,
)
from app.domain.governance.lifecycle import PromotionState
from app.domain.identity.access import Caller, Role
from app.services.governance.approval_status import ApprovalStatus
from app.services.governance.execution import is_overdue


@dataclass(frozen=True, slots=True)
class ReviewPermission:
    """A promotion, and the caller's options to review it.

    `refusal_reason` says why the caller may not review it; None if the caller may. A reviewer may
    reject after approving, so `verdicts` can contain one although there is a reason.
    `not_before` is the earliest time of execution; None if it has passed.
    """

    row: Promotion
    state: PromotionState
    status: ApprovalStatus
    refusal_reason: str | None
    verdicts: tuple[Verdict, ...]
    not_before: datetime | None

    @property
    def pending(self) -> bool:
        return self.state is PromotionState.PENDING

    @property
    def passed(self) -> bool:
        return bool(self.row.outline["result"] == "passed")

    def counts(self, review: ReviewRow) -> bool:
        """Whether a review is of the current approval subject and still counts."""
        if review.subject_digest != self.row.subject_digest:
            return False
        return review.verdict is Verdict.REJECT or review.reviewer_id in self.status.approved


def review_permission(
    row: Promotion, status: ApprovalStatus, caller: Caller, now: datetime
) -> ReviewPermission:
    state = PromotionState.EXPIRED if is_overdue(row, now) else row.state
    refusal_reason, verdicts = _refusal_reason(row, state, status, caller), tuple(Verdict)
    if refusal_reason is not None:
        verdicts = ()
    elif caller.id in status.approved:
        refusal_reason, verdicts = repeat_approval_refusal(caller.name), (Verdict.REJECT,)
    return ReviewPermission(
        row=row,
        state=state,
        status=status,
        refusal_reason=refusal_reason,
        verdicts=verdicts,
        not_before=status.not_before if status.not_before > now else None,
    )


def _refusal_reason(
    row: Promotion, state: PromotionState, status: ApprovalStatus, caller: Caller
) -> str | None:
    """Return the reason why a review by the caller would be refused, None if it would not."""
    if state is not PromotionState.PENDING:
        return f"The promotion is {state}, so it can no longer be reviewed."
    reviewer = Reviewer(caller.name, caller.id, caller.kind)
    if refusal_reason := review_refusal_reason(status.approvals, reviewer, status.contributors):
        return refusal_reason
    try:
        caller.require(Role.APPROVER, row.channel.prefix.full_name)
    except RegistryError as refusal:
        return refusal.detail
    return None
