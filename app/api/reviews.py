"""Actions on a pending promotion over HTTP: review, withdraw, break-glass."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field, model_validator

from app.api.fields import Digest, In, Reason, Text
from app.api.promotions import PromotionOut, promotion_response
from app.domain.errors import (
    AlreadyReviewedError,
    ForbiddenError,
    GateNotPassedError,
    InvalidTransitionError,
    NotFoundError,
    SeparationOfDutiesError,
    SubjectChangedError,
    VersionRevokedError,
)
from app.domain.governance.approvals import Verdict
from app.domain.governance.lifecycle import MIN_REASON_CHARACTERS
from app.http.bodies import JsonBody
from app.http.deps import Now, TransactionsDep
from app.http.problems import refuses
from app.http.role_checks import needs_visibility_of
from app.services.governance import break_glass, promotions, reviews

router = APIRouter(prefix="/promotions", tags=["promotions"])


class ReviewIn(In):
    verdict: Verdict
    comment: Text = ""
    subject_digest: Digest | None = Field(
        default=None,
        description="The promotion's subject_digest that you reviewed. If it has changed since, "
        "an approval is refused.",
    )

    @model_validator(mode="after")
    def _rejection_has_comment(self) -> "ReviewIn":
        if self.verdict is Verdict.REJECT and not self.comment.strip():
            raise ValueError("a rejection needs a comment that says why")
        return self


class BreakGlassIn(In):
    reason: Annotated[Reason, Field(min_length=MIN_REASON_CHARACTERS)]


@router.post(
    "/{promotion_id}/reviews",
    dependencies=[needs_visibility_of("promotion")],
    responses=refuses(
        ForbiddenError,
        SeparationOfDutiesError,
        NotFoundError,
        AlreadyReviewedError,
        SubjectChangedError,
        GateNotPassedError,
        InvalidTransitionError,
        VersionRevokedError,
    ),
)
def review_promotion(
    promotion_id: UUID, body: JsonBody[ReviewIn], transactions: TransactionsDep, now: Now
) -> PromotionOut:
    """Approve or reject a promotion. A single rejection closes it.

    The last missing approval executes the promotion, or schedules it if the policy has a wait.
    """
    row = reviews.review(
        transactions,
        promotion_id=promotion_id,
        verdict=body.verdict,
        comment=body.comment,
        subject_digest=body.subject_digest,
    )
    return promotion_response(transactions, row, now)


@router.post(
    "/{promotion_id}/withdraw",
    responses=refuses(ForbiddenError, NotFoundError, InvalidTransitionError),
)
def withdraw_promotion(promotion_id: UUID, transactions: TransactionsDep, now: Now) -> PromotionOut:
    """Withdraw a promotion that you requested."""
    row = promotions.withdraw(transactions, promotion_id=promotion_id)
    return promotion_response(transactions, row, now)


@router.post(
    "/{promotion_id}/break-glass",
    dependencies=[needs_visibility_of("promotion")],
    responses=refuses(ForbiddenError, NotFoundError, InvalidTransitionError, VersionRevokedError),
)
def execute_by_break_glass(
    promotion_id: UUID,
    body: JsonBody[BreakGlassIn],
    transactions: TransactionsDep,
    now: Now,
) -> PromotionOut:
    """Execute without gate or approvals. The promotion is permanently marked as break-glass."""
    row = break_glass.break_glass(transactions, promotion_id=promotion_id, reason=body.reason)
    return promotion_response(transactions, row, now)
