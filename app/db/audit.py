"""Audit log queries: appending to chains and reading them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.commit_barrier import require_invalidation
from app.db.models import AuditChain, AuditEntry
from app.db.paging import Key, Page, PageRequest, page_of
from app.domain.audit.chain import GENESIS, Event, SealedEvent, seal
from app.domain.delivery.cache_lease import requires_invalidation

_BATCH: Final = 500


def append(session: Session, event: Event) -> SealedEvent:
    """Seal `event` onto its subject's chain, in the caller's transaction.

    The chain's row stays locked until that transaction ends, so call this last. Because every
    change appends an entry, this is also where its commit is marked to wait for the invalidation
    of caches in other processes.
    """
    chain = lock_chain(session, event.subject)
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
    chain.length, chain.head = sealed.sequence, sealed.hash
    session.flush()
    if requires_invalidation(event.action):
        require_invalidation(session)
    return sealed


def lock_chain(session: Session, subject: str) -> AuditChain:
    """Create or lock the chain's row in one statement, and return it.

    A use case without another lock to serialise on takes this one first, so that two concurrent
    creations of the same object wait here instead of violating a constraint. This holds for all
    subjects of the registry's own chain: principals, tokens and sessions are never locked before
    it.
    """
    new = insert(AuditChain).values(subject=subject, length=0, head=GENESIS)
    statement = new.on_conflict_do_update(
        index_elements=[AuditChain.subject], set_={"head": AuditChain.head}
    ).returning(AuditChain)
    return session.scalars(statement, execution_options={"populate_existing": True}).one()


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
