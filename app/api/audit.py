"""The audit log over HTTP: reading, verifying and exporting a chain."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from app.api.fields import Out, PageOut, PageQuery
from app.db import audit
from app.db.session import Sessions
from app.deps import Caller, SessionsDep
from app.domain.access import EVERYWHERE, Role
from app.domain.audit import GENESIS, document_of, verify
from app.domain.errors import ForbiddenError
from app.problems import refuses

Subject = Annotated[
    str,
    Query(
        max_length=256,
        pattern=r"^(registry|prefix:[^/\x00]+/[^/\x00]+)$",
        examples=["registry", "prefix:acme/brand-voice"],
    ),
]


def _auditor(caller: Caller) -> None:
    caller.require_in(Role.AUDITOR, EVERYWHERE)


router = APIRouter(prefix="/audit", tags=["audit"], dependencies=[Depends(_auditor)])


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


@router.get("", responses=refuses(ForbiddenError))
def list_entries(subject: Subject, sessions: SessionsDep, page: PageQuery) -> PageOut[EntryOut]:
    """List the entries of one subject in the order they were made."""
    with sessions() as session:
        found = audit.entries_page(session, subject, page)
    items = [EntryOut.model_validate(entry) for entry in found.items]
    return PageOut(items=items, next=found.next)


@router.get("/verify", responses=refuses(ForbiddenError))
def verify_chain(subject: Subject, sessions: SessionsDep) -> VerificationOut:
    """Recompute every hash of a chain; a subject without entries is an intact, empty chain."""
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
def export_chain(subject: Subject, sessions: SessionsDep) -> StreamingResponse:
    """Export a chain as JSON Lines; each line without `hash` is what that hash is over."""
    return StreamingResponse(_lines(sessions, subject), media_type="application/jsonl")


def _lines(sessions: Sessions, subject: str) -> Iterator[str]:
    with sessions() as session:
        for entry in audit.chain(session, subject):
            document = document_of(entry.event, sequence=entry.sequence, previous=entry.previous)
            line = json.dumps(document | {"hash": entry.hash}, ensure_ascii=False)
            yield f"{line}\n"
