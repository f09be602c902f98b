"""The pulls of a version: the principals to notify when it is recalled."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.db.paging import PageRequest
from app.http.deps import Now, PartsDep, PrefixPath
from app.pages.inputs import Cursor, Number
from app.pages.login.session_cookies import Visitor
from app.pages.rendering import page
from app.services.artifacts.pulls import list_pulls

router = APIRouter(prefix="/prefixes/{namespace}/{name}/versions/{number}/pulls")


@router.get("")
def pulls(
    request: Request,
    prefix: PrefixPath,
    number: Number,
    visit: Visitor,
    parts: PartsDep,
    now: Now,
    cursor: Cursor = None,
) -> Response:
    """List the principals that pulled a version and how often, latest first."""
    found = list_pulls(
        parts.sessions,
        parts.pulls,
        prefix=prefix,
        number=number,
        request=PageRequest(50, cursor),
        caller=visit.caller,
    )
    return page(
        request,
        "pulls.html",
        visit=visit,
        now=now,
        prefix=prefix,
        number=number,
        pulls=found.items,
        following=found.next,
    )
