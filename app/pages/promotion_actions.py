"""The forms of a promotion: approve, reject, withdraw, break-glass."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from app.db.models import Promotion
from app.db.session import Sessions
from app.domain.governance.approvals import Verdict
from app.http.deps import Now, SessionsDep
from app.http.text_fields import Reason, Text
from app.pages.error_pages import redirect_or_refuse
from app.pages.inputs import BREAK_GLASS, missing, require_typed
from app.pages.login.admission import WorkRoute
from app.pages.login.session_cookies import Sender, SenderTransactions
from app.pages.promotions import promotion_page
from app.services.governance import break_glass, promotions, reviews
from app.services.identity.web_sessions import PageVisit

router = APIRouter(prefix="/promotions/{promotion_id}", route_class=WorkRoute)


def _perform(
    act: Callable[[], Promotion],
    done: str,
    request: Request,
    visit: PageVisit,
    sessions: Sessions,
    promotion_id: UUID,
    now: datetime,
) -> Response:
    """Act, then redirect to the promotion page; a refusal is shown on that page."""
    return redirect_or_refuse(
        act,
        done=lambda _: f"/admin/promotions/{promotion_id}?done={done}",
        refused=lambda refusal: promotion_page(
            request, visit, sessions, promotion_id, now, refusal=refusal
        ),
    )


@router.post("/reviews")
def review(
    request: Request,
    promotion_id: UUID,
    visit: Sender,
    transactions: SenderTransactions,
    sessions: SessionsDep,
    now: Now,
    verdict: Annotated[Verdict, Form()],
    comment: Annotated[Text, Form()] = "",
    subject_digest: Annotated[str | None, Form(max_length=80)] = None,
) -> Response:
    """Record a verdict on the approval subject of the form, which may be outdated by now."""

    def act() -> Promotion:
        if verdict is Verdict.REJECT and not comment.strip():
            raise missing("comment", "A rejection needs a comment that says why.")
        return reviews.review(
            transactions,
            promotion_id=promotion_id,
            verdict=verdict,
            comment=comment,
            subject_digest=subject_digest,
        )

    return _perform(act, verdict.value, request, visit, sessions, promotion_id, now)


@router.post("/withdraw")
def withdraw(
    request: Request,
    promotion_id: UUID,
    visit: Sender,
    transactions: SenderTransactions,
    sessions: SessionsDep,
    now: Now,
) -> Response:
    def act() -> Promotion:
        return promotions.withdraw(transactions, promotion_id=promotion_id)

    return _perform(act, "withdraw", request, visit, sessions, promotion_id, now)


@router.post("/break-glass")
def execute_by_break_glass(
    request: Request,
    promotion_id: UUID,
    visit: Sender,
    transactions: SenderTransactions,
    sessions: SessionsDep,
    now: Now,
    reason: Annotated[Reason, Form()] = "-",
    confirmation: Annotated[Text, Form()] = "",
) -> Response:
    """Execute without the gate; the caller must type the confirmation."""

    def act() -> Promotion:
        require_typed(BREAK_GLASS, confirmation, ".")
        return break_glass.break_glass(transactions, promotion_id=promotion_id, reason=reason)

    return _perform(act, "break-glass", request, visit, sessions, promotion_id, now)
