"""The review queue: pending promotions, those that the caller may review first."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.db.paging import PageRequest
from app.db.promotions import promotions_page
from app.domain.governance.lifecycle import PromotionState
from app.http.deps import Now, SessionsDep
from app.pages.inputs import Cursor
from app.pages.login.session_cookies import Visitor
from app.pages.rendering import page
from app.pages.review_permission import review_permission
from app.services.governance.approval_status import approval_status_of

router = APIRouter()


@router.get("/reviews")
def queue(
    request: Request,
    visit: Visitor,
    sessions: SessionsDep,
    now: Now,
    cursor: Cursor = None,
) -> Response:
    wanted = PageRequest(50, cursor)
    with sessions() as session:
        found = promotions_page(session, visit.caller, PromotionState.PENDING, wanted, now=now)
        states = approval_status_of(session, found.items, now=now)
    shown = [review_permission(row, states[row.id], visit.caller, now) for row in found.items]
    return page(
        request,
        "reviews.html",
        visit=visit,
        now=now,
        mine=[item for item in shown if item.refusal_reason is None],
        others=[item for item in shown if item.refusal_reason is not None],
        following=found.next,
    )
