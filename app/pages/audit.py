"""The audit log page: search one chain at a time and verify it."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from app.db import audit
from app.db.audit import EntryFilter, entries_page, latest_chains
from app.db.models import AuditChain
from app.db.paging import PageRequest
from app.domain.audit.chain import REGISTRY, Verification, verify
from app.domain.identity.access import EVERYWHERE, Role
from app.http.deps import Now, SessionsDep
from app.pages.inputs import Cursor, SearchText
from app.pages.login.session_cookies import Visitor
from app.pages.rendering import page

router = APIRouter()

# Longer chains are verified on request only: each entry is read and hashed again.
_AUTO_VERIFIED_ENTRIES: Final = 100


@router.get("/audit")
def entries(
    request: Request,
    visit: Visitor,
    sessions: SessionsDep,
    now: Now,
    subject: SearchText = REGISTRY,
    action: SearchText = "",
    principal: SearchText = "",
    verified: Annotated[str, Query(max_length=8)] = "",
    cursor: Cursor = None,
) -> Response:
    visit.caller.require_in(Role.AUDITOR, EVERYWHERE)
    subject = subject or REGISTRY
    wanted = EntryFilter(subject, action or None, principal or None)
    with sessions() as session:
        found = entries_page(session, wanted, PageRequest(50, cursor), latest_first=True)
        end = audit.chain_head(session, subject)
        return page(
            request,
            "audit.html",
            visit=visit,
            now=now,
            entries=found.items,
            following=found.next,
            wanted=wanted,
            chains=latest_chains(session),
            end=end,
            state=_state(session, end, requested=bool(verified)),
        )


def _state(session: Session, end: AuditChain | None, *, requested: bool) -> Verification | None:
    """Verify a chain that is short, or whose verification was requested."""
    if end is None or (end.length > _AUTO_VERIFIED_ENTRIES and not requested):
        return None
    entries = audit.chain(session, end.subject, length=end.length)
    return verify(end.subject, entries, length=end.length, head=end.head)
