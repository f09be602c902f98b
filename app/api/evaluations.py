"""Evaluations over HTTP: recording, reading, voiding."""

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from app.api.fields import (
    Digest,
    In,
    JsonObject,
    Line,
    Number,
    Out,
    PageOut,
    PageQuery,
    PrefixPath,
    Reason,
    Time,
)
from app.api.problems import refuses
from app.db.evaluations import evaluations_page
from app.db.models import EvaluationRow
from app.deps import Caller, Now, SessionsDep
from app.domain.errors import (
    AlreadyVoidError,
    EvidenceForAnotherArtifactError,
    ForbiddenError,
    InvalidEvaluationError,
    NotFoundError,
    SeparationOfDutiesError,
    UnknownReferenceError,
)
from app.domain.evidence import Cell, CellKey, EvidenceKind, Result
from app.services import evaluations
from app.services.sight import seen_version

router = APIRouter(tags=["evidence"])
_BELOW_VERSION = "/prefixes/{namespace}/{name}/versions/{number}/evaluations"


class HarnessIn(In):
    name: Line
    version: Line


class ResultIn(In):
    metric: Line
    persona: Line
    locale: Line
    value: float
    samples: int = Field(ge=0, lt=2**31)
    stderr: float | None = None

    def result(self) -> Result:
        key = CellKey(self.metric, self.persona, self.locale)
        return Result(key, Cell(self.samples, self.value, self.stderr))


class EvaluationIn(In):
    """Aggregates of one suite version, measured on exactly the artifact named by `digest`."""

    suite: Line
    suite_version: Line
    digest: Digest
    harness: HarnessIn
    started_at: Time
    finished_at: Time
    partial: bool = Field(default=False, description="A limit was set, or samples are unscored.")
    settings: JsonObject = Field(default_factory=dict, description="Seed, decoding settings.")
    results: list[ResultIn] = Field(min_length=1, max_length=10_000)

    def report(self) -> evaluations.Report:
        return evaluations.Report(
            suite=self.suite,
            suite_version=self.suite_version,
            digest=self.digest,
            harness=self.harness.model_dump(),
            settings=self.settings,
            started_at=self.started_at,
            finished_at=self.finished_at,
            partial=self.partial,
            results=[result.result() for result in self.results],
        )


class CellOut(Out):
    metric: str
    persona: str
    locale: str
    samples: int
    mean: float
    stderr: float | None


class VoidedOut(Out):
    reason: str
    at: datetime
    by: str


class EvaluationOut(Out):
    id: UUID
    digest: str
    evidence: EvidenceKind
    partial: bool
    voided: VoidedOut | None
    suite: str
    suite_version: str
    harness: dict[str, Any]
    settings: dict[str, Any]
    started_at: datetime
    finished_at: datetime
    evaluator: str
    recorded_at: datetime
    cells: list[CellOut]


class VoidIn(In):
    reason: Reason


def _out(row: EvaluationRow) -> EvaluationOut:
    void = row.voided
    return EvaluationOut(
        id=row.id,
        digest=row.digest,
        evidence=row.kind,
        partial=row.partial,
        voided=None
        if void is None
        else VoidedOut(reason=void.reason, at=void.voided_at, by=void.voided_by.name),
        suite=row.suite.name,
        suite_version=row.suite.version,
        harness=row.harness,
        settings=row.settings,
        started_at=row.started_at,
        finished_at=row.finished_at,
        evaluator=row.evaluator.name,
        recorded_at=row.recorded_at,
        cells=[CellOut.model_validate(cell) for cell in row.cells],
    )


@router.post(
    _BELOW_VERSION,
    status_code=201,
    responses=refuses(
        ForbiddenError,
        NotFoundError,
        EvidenceForAnotherArtifactError,
        UnknownReferenceError,
        InvalidEvaluationError,
    ),
)
def record_evaluation(
    prefix: PrefixPath,
    number: Number,
    body: EvaluationIn,
    response: Response,
    sessions: SessionsDep,
    caller: Caller,
    now: Now,
) -> EvaluationOut:
    """Record an evaluation. It counts until an approver who is not its author voids it."""
    row = evaluations.record(
        sessions, prefix=prefix, number=number, report=body.report(), caller=caller, now=now
    )
    location = f"/v1/prefixes/{prefix}/versions/{number}/evaluations"
    response.headers["Location"] = location
    return _out(row)


@router.get(_BELOW_VERSION, responses=refuses(NotFoundError))
def list_evaluations(
    prefix: PrefixPath, number: Number, sessions: SessionsDep, caller: Caller, page: PageQuery
) -> PageOut[EvaluationOut]:
    """List a version's evaluations, void ones too, latest first."""
    with sessions() as session:
        version = seen_version(session, caller, prefix, number)
        found = evaluations_page(session, version, page)
    return PageOut(items=[_out(row) for row in found.items], next=found.next)


@router.post(
    "/evaluations/{evaluation_id}/void",
    responses=refuses(ForbiddenError, NotFoundError, SeparationOfDutiesError, AlreadyVoidError),
)
def void_evaluation(
    evaluation_id: UUID, body: VoidIn, sessions: SessionsDep, caller: Caller, now: Now
) -> EvaluationOut:
    """Take an evaluation out of the evidence, on the record; its author cannot."""
    row = evaluations.void(
        sessions, evaluation_id=evaluation_id, reason=body.reason, caller=caller, now=now
    )
    return _out(row)
