"""Checkpoints of the audit log over HTTP: signed notes, inclusion and consistency proofs."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import PlainTextResponse

from app.api.audit import Subject, require_auditor
from app.api.fields import LARGEST_NUMBER, Out, PageOut, PageQuery
from app.db.checkpoints import checkpoints_page
from app.db.models import AuditCheckpoint
from app.domain.audit.checkpoints import digest_of, verifier_key
from app.domain.errors import (
    AuditLogBrokenError,
    CheckpointsNotConfiguredError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
)
from app.domain.identity.access import Role
from app.http.deps import SessionsDep, SignerDep, TransactionsDep
from app.http.problems import refuses, returns_existing
from app.http.role_checks import needs_everywhere
from app.services.audit import checkpoints

router = APIRouter(prefix="/audit", tags=["audit"])
_for_auditors = [Depends(require_auditor)]

Size = Annotated[int, Query(ge=0, le=LARGEST_NUMBER, description="A checkpoint's size.")]
LatestOrSize = Annotated[
    int | None,
    Query(ge=0, le=LARGEST_NUMBER, description="A checkpoint's size; the latest if omitted."),
]


class CheckpointOut(Out):
    size: int
    root: str
    taken_at: datetime
    taken_by: str
    note: str


class LeafOut(Out):
    subject: str
    length: int
    head: str


class InclusionOut(Out):
    size: int
    root: str
    index: int
    leaf: LeafOut
    path: list[str]


class ConsistencyOut(Out):
    first: int
    second: int
    first_root: str
    second_root: str
    path: list[str]


def _out(row: AuditCheckpoint) -> CheckpointOut:
    return CheckpointOut(
        size=row.size,
        root=digest_of(row.root),
        taken_at=row.taken_at,
        taken_by=row.taken_by,
        note=row.note,
    )


@router.post(
    "/checkpoints",
    status_code=201,
    dependencies=[needs_everywhere(Role.ADMIN)],
    responses={
        **returns_existing(CheckpointOut),
        **refuses(ForbiddenError, CheckpointsNotConfiguredError, AuditLogBrokenError),
    },
)
def take_checkpoint(
    response: Response, transactions: TransactionsDep, signer: SignerDep
) -> CheckpointOut:
    """Sign the heads of all chains. If none has grown, return the latest checkpoint with 200."""
    taken, new = checkpoints.take(transactions, signer=signer)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/audit/checkpoint?size={taken.size}"
    return _out(taken)


@router.get("/checkpoints", dependencies=_for_auditors, responses=refuses(ForbiddenError))
def list_checkpoints(sessions: SessionsDep, page: PageQuery) -> PageOut[CheckpointOut]:
    """List the checkpoints, latest first."""
    with sessions() as session:
        found = checkpoints_page(session, page)
    return PageOut(items=[_out(row) for row in found.items], next=found.next)


@router.get(
    "/checkpoint",
    dependencies=_for_auditors,
    response_class=PlainTextResponse,
    responses=refuses(ForbiddenError, NotFoundError),
)
def show_checkpoint(sessions: SessionsDep, size: LatestOrSize = None) -> PlainTextResponse:
    """Return the latest checkpoint, or the one with the given size, as a signed note."""
    with sessions() as session:
        return PlainTextResponse(checkpoints.checkpoint(session, size).note)


@router.get(
    "/checkpoint/key",
    dependencies=_for_auditors,
    response_class=PlainTextResponse,
    responses=refuses(ForbiddenError, CheckpointsNotConfiguredError),
)
def show_checkpoint_key(signer: SignerDep) -> PlainTextResponse:
    """Return the public key of the current checkpoint signer, as a note verifier key."""
    return PlainTextResponse(f"{verifier_key(checkpoints.require_signer(signer))}\n")


@router.get(
    "/proofs/inclusion",
    dependencies=_for_auditors,
    responses=refuses(ForbiddenError, NotFoundError),
)
def prove_inclusion(
    subject: Subject, sessions: SessionsDep, size: LatestOrSize = None
) -> InclusionOut:
    """Prove that a checkpoint covers a chain's entries up to `leaf.length`."""
    with sessions() as session:
        proof = checkpoints.prove_inclusion(session, subject=subject, size=size)
    return InclusionOut(
        size=proof.size,
        root=digest_of(proof.root),
        index=proof.leaf.index,
        leaf=LeafOut.model_validate(proof.leaf),
        path=[digest_of(node) for node in proof.path],
    )


@router.get(
    "/proofs/consistency",
    dependencies=_for_auditors,
    responses=refuses(ForbiddenError, NotFoundError, InvalidRequestError),
)
def prove_consistency(
    first: Size, sessions: SessionsDep, second: LatestOrSize = None
) -> ConsistencyOut:
    """Prove that a later checkpoint covers everything that an earlier one covers, unchanged."""
    with sessions() as session:
        proof = checkpoints.prove_consistency(session, first=first, second=second)
    return ConsistencyOut(
        first=proof.first,
        second=proof.second,
        first_root=digest_of(proof.first_root),
        second_root=digest_of(proof.second_root),
        path=[digest_of(node) for node in proof.path],
    )
