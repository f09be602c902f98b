"""The audit log over HTTP: reading, verifying and exporting its chains."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from app.api.fields import Out, PageOut, PageQuery, Searched, Time
from app.db import audit
from app.db.audit import EntryFilter
from app.db.checkpoints import leaves_after
from app.db.models import AuditEntry, AuditLeaf
from app.db.session import Sessions
from app.domain.audit.chain import GENESIS, document_of, verify
from app.domain.audit.checkpoints import Leaf
from app.domain.errors import ForbiddenError
from app.domain.identity.access import EVERYWHERE, Role
from app.domain.naming import Json
from app.http.deps import Caller, SessionsDep
from app.http.problems import refuses

_BATCH: Final = 500
_SUBJECT: Final = Query(
    max_length=256,
    pattern=r"^(registry|prefix:[^/\x00]+/[^/\x00]+)$",
    examples=["registry", "prefix:acme/brand-voice"],
)

Subject = Annotated[str, _SUBJECT]
AnySubject = Annotated[str | None, _SUBJECT]
Action = Annotated[
    str | None, Query(max_length=64, pattern=r"^[a-z-]+\.[a-z-]+$", examples=["version.push"])
]


async def require_auditor(caller: Caller) -> None:
    caller.require_in(Role.AUDITOR, EVERYWHERE)


router = APIRouter(prefix="/audit", tags=["audit"], dependencies=[Depends(require_auditor)])


class EntryOut(Out):
    subject: str
    sequence: int
    at: datetime
    principal: str
    principal_id: UUID
    action: str
    facts: dict[str, Any]
    previous: str
    hash: str


class VerificationOut(Out):
    subject: str
    entries: int
    head: str
    valid: bool
    first_break: int | None


async def _wanted(
    subject: AnySubject = None,
    action: Action = None,
    principal: Annotated[
        Searched | None, Query(description="The principal's name when the entry was made.")
    ] = None,
    since: Time | None = None,
    until: Annotated[Time | None, Query(description="Exclusive.")] = None,
) -> EntryFilter:
    return EntryFilter(subject, action, principal, since, until)


@router.get("", responses=refuses(ForbiddenError))
def list_entries(
    wanted: Annotated[EntryFilter, Depends(_wanted)], sessions: SessionsDep, page: PageQuery
) -> PageOut[EntryOut]:
    """List entries: those of one subject in sequence, those of all subjects by time."""
    with sessions() as session:
        found = audit.entries_page(session, wanted, page)
    items = [EntryOut.model_validate(entry) for entry in found.items]
    return PageOut(items=items, next=found.next)


@router.get("/verify", responses=refuses(ForbiddenError))
def verify_chain(subject: Subject, sessions: SessionsDep) -> VerificationOut:
    """Recompute every hash of a chain. A subject without entries has a valid, empty chain."""
    with sessions() as session:
        end = audit.chain_head(session, subject)
        length, head = (0, GENESIS) if end is None else (end.length, end.head)
        entries = audit.chain(session, subject, length=length)
        return VerificationOut.model_validate(verify(subject, entries, length=length, head=head))


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/jsonl": {}}}, **refuses(ForbiddenError)},
)
def export_chains(sessions: SessionsDep, subject: AnySubject = None) -> StreamingResponse:
    """Export a chain as JSON Lines. The `hash` of each line covers the rest of the line.

    Without `subject`, export all chains, one after the other. They are preceded by the leaves of
    the tree that checkpoints sign: one line each, by `index`; the rest of the line is the leaf.
    """
    lines = _entry_lines(sessions, subject)
    if subject is None:
        lines = chain(_leaf_lines(sessions), lines)
    return StreamingResponse(lines, media_type="application/jsonl")


def _leaf_lines(sessions: Sessions) -> Iterator[str]:
    leaves = _leaves(sessions, after=-1)
    while leaves:
        for row in leaves:
            leaf = Leaf(row.subject, row.length, row.head)
            yield _line({"index": row.index} | leaf.document())
        leaves = _leaves(sessions, after=leaves[-1].index)


def _entry_lines(sessions: Sessions, subject: str | None) -> Iterator[str]:
    entries = _entries(sessions, subject, after=("", 0))
    while entries:
        for row in entries:
            event = audit.sealed_event(row).event
            document = document_of(event, sequence=row.sequence, previous=row.previous)
            yield _line(document | {"hash": row.hash})
        entries = _entries(sessions, subject, after=(entries[-1].subject, entries[-1].sequence))


# Each batch has its own session, so that a slow client holds no database connection.


def _leaves(sessions: Sessions, *, after: int) -> Sequence[AuditLeaf]:
    with sessions() as session:
        return leaves_after(session, after, _BATCH)


def _entries(
    sessions: Sessions, subject: str | None, *, after: tuple[str, int]
) -> Sequence[AuditEntry]:
    with sessions() as session:
        return audit.entries_after(session, after, _BATCH, subject=subject)


def _line(document: dict[str, Json]) -> str:
    return f"{json.dumps(document, ensure_ascii=False)}\n"
