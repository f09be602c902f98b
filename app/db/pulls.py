"""Pull queries: adding counts, and listing them."""

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, joinedload

from app.db.models import Pull, Version
from app.db.paging import Page, PageRequest, page_of
from app.domain.artifacts.pulls import PullKey, Tally


def add_pulls(session: Session, counted: Mapping[PullKey, Tally]) -> None:
    """Add tallies to the stored ones, in one statement."""
    # Sorted, because two servers that update the same rows in different orders could deadlock.
    rows = [
        {
            "version_id": key.version_id,
            "principal_id": key.principal_id,
            "way": key.way,
            "times": tally.times,
            "first_at": tally.first_at,
            "last_at": tally.last_at,
        }
        for key, tally in sorted(counted.items())
    ]
    statement = insert(Pull).values(rows)
    new = statement.excluded
    session.execute(
        statement.on_conflict_do_update(
            constraint="pk_pull",
            set_={
                "times": Pull.times + new.times,
                "first_at": func.least(Pull.first_at, new.first_at),
                "last_at": func.greatest(Pull.last_at, new.last_at),
            },
        )
    )


def pulls_page(session: Session, version: Version, request: PageRequest) -> Page[Pull]:
    """Return the pulls of a version by principal and way, latest first."""
    statement = select(Pull).where(Pull.version_id == version.id)
    statement = statement.options(joinedload(Pull.principal))
    key = [Pull.last_at, Pull.principal_id, Pull.way]
    return page_of(session, statement, key, request, descending=True)
