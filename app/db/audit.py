"""Audit log queries: appending to chains and reading them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.models import AuditChain, AuditEntry
from app.db.paging import Key, Page, PageRequest, page_of
from app.db.session import expect
from app.domain.audit.chain import GENESIS, Event, SealedEvent, seal

_BATCH: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)  # before every entry


def append(session: Session, chain: AuditChain, event: Event) -> SealedEvent:
    """Seal `event` onto its subject's chain, which is locked, in the caller's transaction.

    A trigger lets a chain grow by one entry for each update, so every entry is flushed by itself.
    """
    sealed = seal(event, length=chain.length, head=chain.head)
    session.add(
        AuditEntry(
            subject=event.subject,
            sequence=sealed.sequence,
            at=event.at,
            principal=event.principal,
            principal_id=event.principal_id,
            action=event.action,
            facts=dict(event.facts),
            previous=sealed.previous,
            hash=sealed.hash,
        )
    )
    chain.length, chain.head, chain.latest_at = sealed.sequence, sealed.hash, event.at
    session.flush()
    return sealed


def lock_chain(session: Session, subject: str) -> AuditChain:
    """Lock the chain of a subject, and create it if there is none.

    All objects that the registry's own chain records are changed under its lock: principals,
    tokens and sessions are never locked before it.
    """
    chain = _locked(session, subject)
    if chain is None:
        new = insert(AuditChain).values(subject=subject, length=0, head=GENESIS, latest_at=_EPOCH)
        # Of two transactions that create the same chain, the second waits here for the first.
        session.execute(new.on_conflict_do_nothing())
        chain = expect(_locked(session, subject))
    return chain


def _locked(session: Session, subject: str) -> AuditChain | None:
    return session.get(AuditChain, subject, with_for_update=True, populate_existing=True)


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """A filter of audit entries; None does not restrict, and `until` is exclusive."""

    subject: str | None = None
    action: str | None = None
    principal: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def entries_page(
    session: Session, wanted: EntryFilter, request: PageRequest, *, latest_first: bool = False
) -> Page[AuditEntry]:
    """Return entries: for one subject in the order of its chain, for all subjects by time."""
    key: Key = [AuditEntry.at, AuditEntry.subject, AuditEntry.sequence]
    statement = select(AuditEntry)
    if wanted.subject is not None:
        statement = statement.where(AuditEntry.subject == wanted.subject)
        key = [AuditEntry.sequence]
    if wanted.action is not None:
        statement = statement.where(AuditEntry.action == wanted.action)
    if wanted.principal is not None:
        statement = statement.where(AuditEntry.principal == wanted.principal)
    if wanted.since is not None:
        statement = statement.where(AuditEntry.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(AuditEntry.at < wanted.until)
    return page_of(session, statement, key, request, descending=latest_first)


def first_at(session: Session) -> datetime | None:
    """Return the time of the earliest entry; None if there is none."""
    return session.scalar(select(func.min(AuditEntry.at)))


def latest_at(session: Session, action: str) -> datetime | None:
    """Return the time of the latest entry of an action; None if there is none."""
    statement = select(func.max(AuditEntry.at)).where(AuditEntry.action == action)
    return session.scalar(statement)


def entries_after(
    session: Session, last: tuple[str, int], limit: int, *, subject: str | None
) -> Sequence[AuditEntry]:
    """Return at most `limit` entries after `last`, of one subject or of all, chain by chain."""
    key = (AuditEntry.subject, AuditEntry.sequence)
    statement = select(AuditEntry).where(tuple_(*key) > tuple_(*last))
    if subject is not None:
        statement = statement.where(AuditEntry.subject == subject)
    return session.scalars(statement.order_by(*key).limit(limit)).all()


def chain(session: Session, subject: str, *, length: int) -> Iterator[SealedEvent]:
    """Yield the first `length` entries of a chain in order, a few hundred in memory at a time.

    Entries that were appended after `length` was read are left out.
    """
    of_subject = select(AuditEntry).where(AuditEntry.subject == subject)
    for first in range(1, length + 1, _BATCH):
        batch = AuditEntry.sequence.between(first, min(first + _BATCH - 1, length))
        for entry in session.scalars(of_subject.where(batch).order_by(AuditEntry.sequence)):
            yield sealed_event(entry)


def sealed_event(entry: AuditEntry) -> SealedEvent:
    event = Event(
        entry.subject,
        entry.at,
        entry.principal,
        entry.principal_id,
        entry.action,
        entry.facts,
    )
    return SealedEvent(event, entry.sequence, entry.previous, entry.hash)


def chain_head(session: Session, subject: str) -> AuditChain | None:
    return session.get(AuditChain, subject)


def latest_chains(session: Session, *, entries: int = 500) -> Sequence[str]:
    """Return the subjects of the latest entries, ordered by name."""
    latest = select(AuditEntry.subject).order_by(
        AuditEntry.at.desc(), AuditEntry.subject.desc(), AuditEntry.sequence.desc()
    )
    subjects = latest.limit(entries).subquery().c.subject
    return session.scalars(select(subjects).distinct().order_by(subjects)).all()
