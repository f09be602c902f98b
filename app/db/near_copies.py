"""Near-copy queries: the contents near a content, and their versions as a caller sees them."""

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session, joinedload

from app.db.channels import served
from app.db.models import BaseModelRow, Content, Prefix, Version
from app.db.paging import Page, PageRequest, page_of
from app.db.prefixes import is_wholly_visible_to, within
from app.domain.artifacts.near_copies import (
    ContentSketch,
    are_near,
    norm_bounds,
    relative_distance,
    widest_direction,
)
from app.domain.artifacts.sketch import BUCKETS
from app.domain.identity.access import Caller

_ROUNDING: Final = 1e-6  # the stored directions are rounded to float32
_READ_AT_ONCE: Final = 5_000
_PACKED: Final = struct.Struct(f"<{BUCKETS}f")


@dataclass(frozen=True, slots=True)
class NearCopy:
    """A content's digest, and its estimated relative distance from another content."""

    content: str
    distance: float


def content_row(digest: str, base: BaseModelRow, sketch: ContentSketch) -> Content:
    first, second, third = sketch.direction[:3]
    return Content(
        digest=digest,
        base_model_id=base.id,
        virtual_tokens=sketch.virtual_tokens,
        norm=sketch.norm,
        sketch=_PACKED.pack(*sketch.direction),
        sketch_1=first,
        sketch_2=second,
        sketch_3=third,
    )


def near_copies_of(session: Session, content: Content, within: float) -> Sequence[NearCopy]:
    """Return the other contents that may be within a relative distance, nearest first.

    Each content within the distance is among them with a probability of 1 - 1e-6, as `are_near`
    explains. An index compares the norms and three numbers of the sketches; the whole sketches are
    compared only of contents whose numbers are alike.
    """
    mine = _sketch(content.virtual_tokens, content.norm, content.sketch)
    least, largest = norm_bounds(content.norm, within)
    widest = widest_direction(within) + _ROUNDING
    indexed = zip(
        (Content.sketch_1, Content.sketch_2, Content.sketch_3), mine.direction, strict=False
    )
    statement = select(Content.digest, Content.virtual_tokens, Content.norm, Content.sketch).where(
        Content.base_model_id == content.base_model_id,
        Content.virtual_tokens == content.virtual_tokens,
        Content.norm.between(least, largest),
        *(column.between(number - widest, number + widest) for column, number in indexed),
        Content.digest != content.digest,
    )
    found: list[NearCopy] = []
    rows = session.execute(statement).yield_per(_READ_AT_ONCE)
    for digest, virtual_tokens, norm, packed in rows:
        other = _sketch(virtual_tokens, norm, packed)
        if are_near(mine, other, within):
            found.append(NearCopy(digest, relative_distance(mine, other)))
    return sorted(found, key=lambda copy: (copy.distance, copy.content))


def near_versions_page(
    session: Session, caller: Caller, contents: Collection[str], request: PageRequest
) -> Page[Version]:
    """Return the versions of contents that are visible to the caller, latest first."""
    statement = select(Version).join(Version.prefix).where(_visible_among(caller, contents))
    statement = statement.options(joinedload(Version.prefix), joinedload(Version.revocation))
    key = [Version.created_at, Version.id]
    return page_of(session, statement, key, request, descending=True)


def contents_visible_to(
    session: Session, caller: Caller, contents: Collection[str]
) -> frozenset[str]:
    """Return the contents of which a version is visible to the caller."""
    statement = select(Version.content).join(Version.prefix)
    return frozenset(session.scalars(statement.where(_visible_among(caller, contents)).distinct()))


def _visible_among(caller: Caller, contents: Collection[str]) -> ColumnElement[bool]:
    released = within(caller.namespaces(), Prefix) & served(Version.prefix_id, caller, Version.id)
    return Version.content.in_(contents) & or_(is_wholly_visible_to(caller), released)


def _sketch(virtual_tokens: int, norm: float, packed: bytes) -> ContentSketch:
    return ContentSketch(virtual_tokens, norm, _PACKED.unpack(packed))
