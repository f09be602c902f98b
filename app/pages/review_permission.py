"""How a promotion stands, for whoever looks: what it waits for, and why one may or may not act."""

from dataclasses import dataclass
from datetime import datetime

from app.db.models import Promotion, ReviewRow
from app.domain.errors import RegistryError
from app.domain.governance.approvals import Reviewer, Verdict, approved_already, bar_to_review
from app.domain.governance.lifecycle import PromotionState
from app.domain.identity.access import Caller, Role
from app.services.governance.approval_status import Reviewers
from app.services.governance.execution import is_overdue


@dataclass(frozen=True, slots=True)
class Standing:
    """A promotion as it is shown to one caller.

    `bar` says why the caller may not review it; None means that it may. Whoever approved may
    still think again, so `verdicts` can have one in spite of a bar. `not_before` is the earliest
    time at which approvals execute it.
    """

    row: Promotion
    state: PromotionState
    reviewers: Reviewers
    bar: str | None
    verdicts: tuple[Verdict, ...]
    not_before: datetime | None

    @property
    def pending(self) -> bool:
        return self.state is PromotionState.PENDING

    @property
    def passed(self) -> bool:
        return bool(self.row.outline["result"] == "passed")

    def counts(self, review: ReviewRow) -> bool:
        """Whether a review is about what the promotion is now."""
        if review.subject_digest != self.row.subject_digest:
            return False
        return review.verdict is Verdict.REJECT or review.reviewer_id in self.reviewers.approved


def standing(row: Promotion, reviewers: Reviewers, caller: Caller, now: datetime) -> Standing:
    state = PromotionState.EXPIRED if is_overdue(row, now) else row.state
    bar, verdicts = _bar(row, state, reviewers, caller), tuple(Verdict)
    if bar is not None:
        verdicts = ()
    elif caller.id in reviewers.approved:
        bar, verdicts = approved_already(caller.name), (Verdict.REJECT,)
    return Standing(
        row=row,
        state=state,
        reviewers=reviewers,
        bar=bar,
        verdicts=verdicts,
        not_before=reviewers.not_before if reviewers.not_before > now else None,
    )


def _bar(row: Promotion, state: PromotionState, reviewers: Reviewers, caller: Caller) -> str | None:
    """Say what reviewing would be refused for, in the words of the refusal."""
    if state is not PromotionState.PENDING:
        return f"The promotion is {state}, so nothing is left to decide."
    reviewer = Reviewer(caller.name, caller.id, caller.kind)
    if bar := bar_to_review(reviewers.approvals, reviewer, reviewers.contributors):
        return bar
    try:
        caller.require(Role.APPROVER, row.channel.prefix.full_name)
    except RegistryError as refusal:
        return refusal.detail
    return None
