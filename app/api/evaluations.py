"""Evaluations over HTTP: recording, reading, voiding."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from app.api.admission import needs, needs_everywhere, needs_sight_of
from app.api.fields import (
    Digest,
    In,
    JsonObject,
    Line,
    Number,
    Out,
    PageOut,
    PageQuery,
    Reason,
    Time,
)
from app.api.multipart import received_parts
from app.bodies import Sent, media_type, parsed, small_body
from app.db.base_models import base_model_by_digest
from app.db.evaluations import evaluations_page
from app.db.models import EvaluationRow
from app.deps import BlobsDep, Caller, LimitsDep, Now, PrefixPath, SessionsDep
from app.domain.access import Role, nothing_named
from app.domain.errors import (
    AlreadyVoidError,
    EvidenceForAnotherArtifactError,
    ForbiddenError,
    InvalidEvaluationError,
    NotFoundError,
    SeparationOfDutiesError,
    TooLargeError,
    UnknownReferenceError,
    UnsupportedMediaTypeError,
)
from app.domain.evidence import Cell, CellKey, EvidenceKind, Result
from app.domain.identity import DIGEST_PATTERN
from app.problems import refuses
from app.services import evaluations
from app.services.received import ReceivedFile
from app.services.reports import Report
from app.services.sight import seen_version

router = APIRouter(tags=["evidence"])
_BELOW_BASE_MODEL = "/base-models/{digest}/evaluations"
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
    results: list[ResultIn] = Field(
        default_factory=list,
        max_length=10_000,
        description="Aggregates; with samples they may be left out, and must agree if given.",
    )

    def report(self) -> Report:
        return Report(
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


_CONTENT: Final = {
    "application/json": {"schema": {"$ref": "#/components/schemas/EvaluationIn"}},
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["evaluation", "samples"],
            "properties": {
                "evaluation": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "description": "The JSON of the other form; `results` may be left out.",
                },
                "samples": {
                    "type": "string",
                    "contentMediaType": "application/jsonl",
                    "description": "One row per sample, plain or gzip: id, persona, locale, "
                    "prompt_sha256 (optional), scores by metric.",
                },
            },
        }
    },
}


async def _reported(
    request: Request, _caller: Caller, limits: LimitsDep
) -> AsyncIterator[tuple[Report, ReceivedFile | None]]:
    """Receive a report, with or without samples, after the caller is known."""
    if media_type(request) == "application/json":
        body = await small_body(request, limit_bytes=limits.report_bytes)
        yield parsed(EvaluationIn, body).report(), None
        return
    sizes = {"evaluation": limits.report_bytes, "samples": limits.samples_bytes}
    async with received_parts(request, sizes) as parts:
        body = await run_in_threadpool(parts["evaluation"].content.read)
        yield parsed(EvaluationIn, body).report(), parts["samples"]


Reported = Annotated[tuple[Report, ReceivedFile | None], Depends(_reported)]
_RECORDING_REFUSALS: Final = refuses(
    ForbiddenError,
    NotFoundError,
    EvidenceForAnotherArtifactError,
    TooLargeError,
    UnsupportedMediaTypeError,
    UnknownReferenceError,
    InvalidEvaluationError,
)
_BODY: Final = {"requestBody": {"required": True, "content": _CONTENT}}


@router.post(
    _BELOW_VERSION,
    status_code=201,
    openapi_extra=_BODY,
    dependencies=[needs(Role.EVALUATOR)],
    responses=_RECORDING_REFUSALS,
)
def record_evaluation(
    prefix: PrefixPath,
    number: Number,
    reported: Reported,
    response: Response,
    sessions: SessionsDep,
    blobs: BlobsDep,
    caller: Caller,
    now: Now,
) -> EvaluationOut:
    """Record an evaluation. It counts until an approver who is not its author voids it."""
    report, samples = reported
    row = evaluations.record(
        sessions,
        blobs,
        prefix=prefix,
        number=number,
        report=report,
        samples=samples,
        caller=caller,
        now=now,
    )
    location = f"/v1/prefixes/{prefix}/versions/{number}/evaluations"
    response.headers["Location"] = location
    return _out(row)


@router.post(
    _BELOW_BASE_MODEL,
    status_code=201,
    openapi_extra=_BODY,
    dependencies=[needs_everywhere(Role.EVALUATOR)],
    responses=_RECORDING_REFUSALS,
)
def record_control_run(
    digest: Annotated[str, Path(pattern=DIGEST_PATTERN)],
    reported: Reported,
    response: Response,
    sessions: SessionsDep,
    blobs: BlobsDep,
    caller: Caller,
    now: Now,
) -> EvaluationOut:
    """Record an evaluation of the bare base model, for rules that compare with it."""
    report, samples = reported
    row = evaluations.record_control_run(
        sessions,
        blobs,
        base_model=digest,
        report=report,
        samples=samples,
        caller=caller,
        now=now,
    )
    response.headers["Location"] = f"/v1/base-models/{digest}/evaluations"
    return _out(row)


@router.get(_BELOW_BASE_MODEL, responses=refuses(ForbiddenError, NotFoundError))
def list_control_runs(
    digest: Annotated[str, Path(pattern=DIGEST_PATTERN)],
    sessions: SessionsDep,
    caller: Caller,
    page: PageQuery,
) -> PageOut[EvaluationOut]:
    """List a base model's evaluations, void ones too, latest first."""
    caller.require_some_part()
    with sessions() as session:
        base = base_model_by_digest(session, digest)
        if base is None:
            raise nothing_named("base model", digest)
        found = evaluations_page(session, EvaluationRow.base_model_id, base.id, page)
    return PageOut(items=[_out(row) for row in found.items], next=found.next)


@router.get(_BELOW_VERSION, responses=refuses(NotFoundError))
def list_evaluations(
    prefix: PrefixPath, number: Number, sessions: SessionsDep, caller: Caller, page: PageQuery
) -> PageOut[EvaluationOut]:
    """List a version's evaluations, void ones too, latest first."""
    with sessions() as session:
        version = seen_version(session, caller, prefix, number)
        found = evaluations_page(session, EvaluationRow.version_id, version.id, page)
    return PageOut(items=[_out(row) for row in found.items], next=found.next)


@router.post(
    "/evaluations/{evaluation_id}/void",
    dependencies=[needs_sight_of("evaluation")],
    responses=refuses(ForbiddenError, NotFoundError, SeparationOfDutiesError, AlreadyVoidError),
)
def void_evaluation(
    evaluation_id: UUID, body: Sent[VoidIn], sessions: SessionsDep, caller: Caller, now: Now
) -> EvaluationOut:
    """Take an evaluation out of the evidence, on the record; its author cannot."""
    row = evaluations.void(
        sessions, evaluation_id=evaluation_id, reason=body.reason, caller=caller, now=now
    )
    return _out(row)
