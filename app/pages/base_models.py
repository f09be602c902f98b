"""The page of base models, each with the prefixes bound to it."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.db.base_models import base_models_page, prefixes_bound_to
from app.db.paging import PageRequest
from app.http.deps import Now, SessionsDep
from app.pages.inputs import Cursor
from app.pages.login.session_cookies import Visitor
from app.pages.presentation import shell_commands
from app.pages.rendering import origin_of, page

router = APIRouter()


@router.get("/base-models")
def every_base_model(
    request: Request, visit: Visitor, sessions: SessionsDep, now: Now, cursor: Cursor = None
) -> Response:
    visit.caller.require_participant()
    with sessions() as session:
        found = base_models_page(session, PageRequest(50, cursor))
        bound = prefixes_bound_to(session, visit.caller, [row.id for row in found.items])
    return page(
        request,
        "base_models.html",
        visit=visit,
        now=now,
        base_models=found.items,
        bound=bound,
        following=found.next,
        line=shell_commands.base_model(origin_of(request)),
    )
