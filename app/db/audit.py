"""The audit log's rows: appending to a chain, reading one."""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.models import AuditChain, AuditEntry
from app.db.paging import Page, PageRequest, page_of
from app.domain.audit import GENESIS, Event, SealedEvent, seal


def append(session: Session, event: Event) -> SealedEvent:
    """Seal `event` onto its subject's chain, in the caller's transaction.

    The chain's row stays locked until that transaction ends, so call this last.
    """
    length, head = lock_chain(session, event.subject)
    sealed = seal(event, length=length, head=head)
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
    chain = session.get_one(AuditChain, event.subject)
    chain.length, chain.head = sealed.sequence, sealed.hash
    session.flush()
    return sealed


def lock_chain(session: Session, subject: str) -> tuple[int, str]:
    """Create or lock the chain's row in one statement; return its length and head.

    A use case whose rows hang on no other lock takes this one first, so that two callers who
    create the same thing meet here and not at a constraint.
    """
    new = insert(AuditChain).values(subject=subject, length=0, head=GENESIS)
    statement = new.on_conflict_do_update(
        index_elements=[AuditChain.subject], set_={"head": AuditChain.head}
    ).returning(AuditChain)
    chain = session.scalars(statement, execution_options={"populate_existing": True}).one()
    return chain.length, chain.head


def entries_page(session: Session, subject: str, request: PageRequest) -> Page[AuditEntry]:
    statement = select(AuditEntry).where(AuditEntry.subject == subject)
    return page_of(session, statement, [AuditEntry.sequence], request)


def chain(session: Session, subject: str, *, length: int | None = None) -> Iterator[SealedEvent]:
    """Yield a chain in order, some hundred rows in memory at a time.

    With `length`, entries appended since that length was read are left out.
    """
    statement = (
        select(AuditEntry).where(AuditEntry.subject == subject).order_by(AuditEntry.sequence)
    )
    if length is not None:
        statement = statement.where(AuditEntry.sequence <= length)
    for entry in session.scalars(statement, execution_options={"yield_per": 500}):
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
