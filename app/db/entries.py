"""The audit log searched: entries of a chain by who did what, latest first."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import AuditEntry
from app.db.paging import Page, PageRequest, page_of


@dataclass(frozen=True, slots=True)
class EntryFilter:
    subject: str
    action: str | None = None
    principal: str | None = None


def entries_matching(
    session: Session, wanted: EntryFilter, request: PageRequest
) -> Page[AuditEntry]:
    statement = select(AuditEntry).where(AuditEntry.subject == wanted.subject)
    if wanted.action is not None:
        statement = statement.where(AuditEntry.action == wanted.action)
    if wanted.principal is not None:
        statement = statement.where(AuditEntry.principal == wanted.principal)
    return page_of(session, statement, [AuditEntry.sequence], request, descending=True)


def latest_chains(session: Session, *, entries: int = 500) -> Sequence[str]:
    """Return the subjects of the latest entries, by name."""
    latest = select(AuditEntry.subject).order_by(
        AuditEntry.at.desc(), AuditEntry.subject.desc(), AuditEntry.sequence.desc()
    )
    subjects = latest.limit(entries).subquery().c.subject
    return session.scalars(select(subjects).distinct().order_by(subjects)).all()
