"""The near copies of a version, as far as they are visible to a caller."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.db.models import Content, Version
from app.db.near_copies import contents_visible_to, near_copies_of, near_versions_page
from app.db.paging import Page, PageRequest
from app.db.session import expect
from app.domain.artifacts.near_copies import LISTED, NEAR
from app.domain.identity.access import Caller


@dataclass(frozen=True, slots=True)
class VisibleNearCopies:
    """The versions of near contents that are visible to a caller, with the contents' distances.

    `hidden` counts the near contents of which the caller sees no version.
    """

    versions: Page[Version]
    distances: Mapping[str, float]
    hidden: int


def visible_near_copies(
    session: Session, caller: Caller, version: Version, request: PageRequest
) -> VisibleNearCopies:
    """Return the versions of the `LISTED` contents nearest to a version's content."""
    content = expect(session.get(Content, version.content))
    nearest = near_copies_of(session, content, NEAR)[:LISTED]
    distances = {copy.content: copy.distance for copy in nearest}
    versions = near_versions_page(session, caller, distances, request)
    visible = contents_visible_to(session, caller, distances)
    return VisibleNearCopies(versions, distances, len(distances) - len(visible))
