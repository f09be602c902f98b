"""Who pulled a version, over HTTP: whom to tell when it is recalled."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import Field

from app.api.fields import Number, Out, PageOut, PageQuery
from app.deps import Caller, PartsDep, PrefixPath
from app.domain.access import PrincipalKind
from app.domain.errors import ForbiddenError, NotFoundError
from app.domain.pulls import PullWay
from app.problems import refuses
from app.services.pulls import list_pulls

router = APIRouter(prefix="/prefixes/{namespace}/{name}/versions", tags=["versions"])


class PullOut(Out):
    principal: str
    kind: PrincipalKind
    way: PullWay = Field(description="`resolve` told it where to fetch; `download` sent the bytes.")
    times: int
    first_at: datetime
    last_at: datetime


@router.get("/{number}/pulls", responses=refuses(ForbiddenError, NotFoundError))
def version_pulls(
    prefix: PrefixPath, number: Number, parts: PartsDep, caller: Caller, page: PageQuery
) -> PageOut[PullOut]:
    """List who pulled the version and how often, the latest first."""
    found = list_pulls(
        parts.sessions, parts.pulls, prefix=prefix, number=number, request=page, caller=caller
    )
    items = [
        PullOut(
            principal=row.principal.name,
            kind=row.principal.kind,
            way=row.way,
            times=row.times,
            first_at=row.first_at,
            last_at=row.last_at,
        )
        for row in found.items
    ]
    return PageOut(items=items, next=found.next)
