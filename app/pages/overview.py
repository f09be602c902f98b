"""The overview: counts, pending promotions, latest changes, blocking rules, quotas."""

from datetime import timedelta
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.db.overview import counts, failing_rules
from app.db.paging import PageRequest
from app.db.promotions import promotions_page
from app.db.quotas import fullest
from app.db.timeline import recent_changes
from app.domain.governance.lifecycle import PromotionState
from app.http.deps import Now, QuotaDep, SessionsDep
from app.pages.login.session_cookies import Visitor
from app.pages.rendering import page

router = APIRouter()

_FAILING_FOR: Final = timedelta(days=30)


@router.get("/")
def overview(
    request: Request, visit: Visitor, sessions: SessionsDep, now: Now, quota: QuotaDep
) -> Response:
    caller = visit.caller
    with sessions() as session:
        pending = promotions_page(
            session, caller, PromotionState.PENDING, PageRequest(limit=5), now=now
        )
        return page(
            request,
            "overview.html",
            visit=visit,
            now=now,
            counts=counts(session, caller, now),
            pending=pending.items,
            changes=recent_changes(session, caller),
            quotas=fullest(session, caller.fully_visible_namespaces(), quota),
            defaults=quota,
            failing=failing_rules(session, caller, since=now - _FAILING_FOR),
        )
