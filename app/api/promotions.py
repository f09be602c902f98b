"""Promotions over HTTP: their models, requesting them, reading them."""

import json
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field, model_validator
from sqlalchemy.orm import Session

from app.api.fields import (
    LARGEST_NUMBER,
    ChannelName,
    In,
    Out,
    PageOut,
    PageQuery,
    Reason,
)
from app.api.gates import DecisionOut
from app.api.prefixes import ShareOut
from app.db.models import Promotion, ReviewRow
from app.db.promotions import DECISION, promotions_page
from app.domain.errors import (
    ForbiddenError,
    GateNotConfiguredError,
    GateNotPassedError,
    InvalidAllocationError,
    NotFoundError,
    NothingToChangeError,
    PolicyUnsatisfiableError,
    UnknownReferenceError,
    VersionRevokedError,
)
from app.domain.governance.allocation import ALL_TRAFFIC, Allocation, Share
from app.domain.governance.approvals import Verdict
from app.domain.governance.lifecycle import PromotionState
from app.domain.identity.access import Role
from app.http.bodies import JsonBody
from app.http.deps import Caller, Now, PrefixPath, SessionsDep, TransactionsDep
from app.http.problems import refuses
from app.http.role_checks import needs
from app.services.governance import break_glass, promotions
from app.services.governance.approval_status import ApprovalStatus, approval_status_of
from app.services.governance.execution import is_overdue
from app.services.identity.visibility import visible_promotion
from app.services.transactions import Transactions

router = APIRouter(tags=["promotions"])


class ShareIn(In):
    version: int = Field(ge=1, le=LARGEST_NUMBER)
    weight: int = Field(ge=0, le=ALL_TRAFFIC, description="Basis points.")


class PromotionIn(In):
    """Give `version` all of the channel's traffic, or split it by `allocation`."""

    channel: ChannelName
    version: int | None = Field(default=None, ge=1, le=LARGEST_NUMBER)
    allocation: list[ShareIn] | None = Field(default=None, min_length=1, max_length=16)
    reason: Reason
    break_glass: bool = Field(
        default=False,
        description="For admins: execute at once, without gate or approvals. The promotion is "
        "permanently marked as break-glass.",
    )

    @model_validator(mode="after")
    def _one_target(self) -> "PromotionIn":
        if (self.version is None) == (self.allocation is None):
            raise ValueError("give either version or allocation")
        return self

    def wanted(self) -> Allocation:
        if self.version is not None:
            return (Share(self.version, ALL_TRAFFIC),)
        return tuple(Share(share.version, share.weight) for share in self.allocation or ())


class ReviewOut(Out):
    reviewer: str
    verdict: Verdict
    comment: str
    at: datetime
    counts: bool = Field(description="Whether it counts for the promotion's current subject.")


class WaitingOut(Out):
    approvals: int
    eligible: list[str]
    not_before: datetime | None = Field(
        description="When the policy's wait ends and the promotion may execute."
    )


class PromotionOut(Out):
    id: UUID
    prefix: str
    channel: str
    allocation: list[ShareOut]
    reason: str
    state: PromotionState
    requested_by: str
    created_at: datetime
    decision: DecisionOut
    evidence_digest: str
    subject_digest: str = Field(description="The approval subject; send it with a review.")
    reviews: list[ReviewOut]
    waiting_for: WaitingOut | None
    expires_at: datetime
    closed_at: datetime | None
    closing_reason: str | None
    break_glass: bool


class _RestOut(PromotionOut):
    """A promotion without its decision."""

    decision: Any = Field(default=None, exclude=True)


def promotion_out(session: Session, row: Promotion, now: datetime) -> PromotionOut:
    status = approval_status_of(session, [row], now=now)[row.id]
    return PromotionOut(
        **_fields(row, status, now),
        decision=DecisionOut.model_validate(DECISION.validate_python(row.decision)),
    )


def _json_of(row: Promotion, status: ApprovalStatus, now: datetime) -> str:
    """Return a promotion as JSON, with the decision's JSON exactly as it is stored.

    The decision is stored in its response format. Parsing, validating and serialising it again
    would take longer than the rest of a page of fifty promotions.
    """
    rest = _RestOut(**_fields(row, status, now)).model_dump_json()
    return f'{rest[:-1]},"decision":{row.decision_json}}}'


def _fields(row: Promotion, status: ApprovalStatus, now: datetime) -> dict[str, Any]:
    """Return all fields of a promotion except the decision."""
    state = PromotionState.EXPIRED if is_overdue(row, now) else row.state
    return {
        "id": row.id,
        "prefix": str(row.channel.prefix.full_name),
        "channel": row.channel.name,
        "allocation": [ShareOut(version=s.version.number, weight=s.weight) for s in row.shares],
        "reason": row.reason,
        "state": state,
        "requested_by": row.requested_by.name,
        "created_at": row.created_at,
        "evidence_digest": row.evidence_digest,
        "subject_digest": row.subject_digest,
        "reviews": [_review_out(review, row, status) for review in row.reviews],
        "waiting_for": _waiting(status, now) if state is PromotionState.PENDING else None,
        "expires_at": row.expires_at,
        "closed_at": row.closed_at,
        "closing_reason": row.closing_reason,
        "break_glass": row.break_glass,
    }


def _waiting(status: ApprovalStatus, now: datetime) -> WaitingOut:
    names = [reviewer.name for reviewer in status.remaining_reviewers]
    not_before = status.not_before if status.not_before > now else None
    return WaitingOut(approvals=status.approvals_missing, eligible=names, not_before=not_before)


def _review_out(review: ReviewRow, row: Promotion, status: ApprovalStatus) -> ReviewOut:
    approves = review.verdict is Verdict.APPROVE
    current = review.subject_digest == row.subject_digest
    return ReviewOut(
        reviewer=review.reviewer.name,
        verdict=review.verdict,
        comment=review.comment,
        at=review.reviewed_at,
        counts=current and (not approves or review.reviewer_id in status.approved),
    )


@router.post(
    "/prefixes/{namespace}/{name}/promotions",
    status_code=201,
    dependencies=[needs(Role.PUBLISHER, Role.ADMIN)],  # admins for break-glass
    responses=refuses(
        ForbiddenError,
        NotFoundError,
        GateNotConfiguredError,
        GateNotPassedError,
        NothingToChangeError,
        PolicyUnsatisfiableError,
        VersionRevokedError,
        InvalidAllocationError,
        UnknownReferenceError,
    ),
)
def request_promotion(
    prefix: PrefixPath,
    body: JsonBody[PromotionIn],
    response: Response,
    transactions: TransactionsDep,
    now: Now,
) -> PromotionOut:
    """Request a promotion. The gate is evaluated at once; only if it passes may people approve."""
    request = break_glass.request_with_break_glass if body.break_glass else promotions.request
    row = request(
        transactions,
        prefix=prefix,
        channel_name=body.channel,
        wanted=body.wanted(),
        reason=body.reason,
    )
    response.headers["Location"] = f"/v1/promotions/{row.id}"
    return promotion_response(transactions, row, now)


@router.get("/promotions", response_model=PageOut[PromotionOut], responses=refuses())
def list_promotions(
    sessions: SessionsDep,
    caller: Caller,
    page: PageQuery,
    now: Now,
    state: Annotated[PromotionState | None, Query()] = None,
) -> Response:
    """List the promotions visible to you, latest first."""
    with sessions() as session:
        found = promotions_page(session, caller, state, page, now=now, with_decisions=True)
        statuses = approval_status_of(session, found.items, now=now)
    items = ",".join(_json_of(row, statuses[row.id], now) for row in found.items)
    content = f'{{"items":[{items}],"next":{json.dumps(found.next)}}}'
    return Response(content, media_type="application/json")


@router.get("/promotions/{promotion_id}", responses=refuses(NotFoundError))
def promotion(promotion_id: UUID, sessions: SessionsDep, caller: Caller, now: Now) -> PromotionOut:
    with sessions() as session:
        row = visible_promotion(session, caller, promotion_id)
        return promotion_out(session, row, now)


def promotion_response(transactions: Transactions, row: Promotion, now: datetime) -> PromotionOut:
    with transactions.read() as session:
        return promotion_out(session, row, now)
