"""Evaluations over HTTP: recording, reading, voiding."""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool

from app.api.evaluation_models import (
    BELOW_BASE_MODEL,
    BELOW_VERSION,
    REFUSALS,
    BaseModelPath,
    EvaluationIn,
    EvaluationOut,
    RecorderDep,
    evaluation_out,
)
from app.api.fields import In, Number, PageOut, PageQuery, Reason
from app.db.base_models import base_model_by_digest
from app.db.evaluations import evaluations_page
from app.db.models import EvaluationRow
from app.domain.errors import (
    AlreadyVoidError,
    ForbiddenError,
    NotFoundError,
    SeparationOfDutiesError,
)
from app.domain.identity.access import Role, not_found
from app.http.bodies import JsonBody, media_type, parsed, small_body
from app.http.deps import Caller, LimitsDep, PrefixPath, SessionsDep, TransactionsDep
from app.http.multipart import parsed_part, received_parts
from app.http.problems import refuses
from app.http.role_checks import needs, needs_everywhere, needs_visibility_of
from app.services.artifacts.spooled_files import ReceivedFile
from app.services.evidence import evaluations
from app.services.evidence.submissions import Submission, Submitted
from app.services.identity.visibility import visible_version

router = APIRouter(tags=["evidence"])


class VoidIn(In):
    reason: Reason


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
                    "description": "JSON as in application/json; `results` may be omitted.",
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


async def _submission(
    request: Request, _caller: Caller, limits: LimitsDep
) -> AsyncIterator[Submission]:
    """Read a report, with or without samples, after authenticating the caller."""
    if media_type(request) == "application/json":
        body = await small_body(request, limit_bytes=limits.report_bytes)
        yield _native(await run_in_threadpool(parsed, EvaluationIn, body, finite=False), None)
        return
    sizes = {"evaluation": limits.report_bytes, "samples": limits.samples_bytes}
    async with received_parts(request, sizes) as parts:
        evaluation = await run_in_threadpool(
            parsed_part, EvaluationIn, parts, "evaluation", finite=False
        )
        yield _native(evaluation, parts["samples"])


def _native(evaluation: EvaluationIn, samples: ReceivedFile | None) -> Submission:
    submitted = Submitted(evaluation.report(), samples)
    return Submission(evaluation.claim(), lambda _suite: nullcontext(submitted))


SubmissionDep = Annotated[Submission, Depends(_submission)]
_BODY: Final = {"requestBody": {"required": True, "content": _CONTENT}}


@router.post(
    BELOW_VERSION,
    status_code=201,
    openapi_extra=_BODY,
    dependencies=[needs(Role.EVALUATOR)],
    responses=REFUSALS,
)
def record_evaluation(
    prefix: PrefixPath, number: Number, submission: SubmissionDep, recorder: RecorderDep
) -> EvaluationOut:
    """Record an evaluation. It counts as evidence until an approver, not its author, voids it."""
    return recorder.of_version(prefix, number, submission)


@router.post(
    BELOW_BASE_MODEL,
    status_code=201,
    openapi_extra=_BODY,
    dependencies=[needs_everywhere(Role.EVALUATOR)],
    responses=REFUSALS,
)
def record_control_run(
    digest: BaseModelPath, submission: SubmissionDep, recorder: RecorderDep
) -> EvaluationOut:
    """Record a control run: an evaluation of the bare base model that rules compare with."""
    return recorder.of_base_model(digest, submission)


@router.get(BELOW_BASE_MODEL, responses=refuses(ForbiddenError, NotFoundError))
def list_control_runs(
    digest: BaseModelPath,
    sessions: SessionsDep,
    caller: Caller,
    page: PageQuery,
) -> PageOut[EvaluationOut]:
    """List a base model's evaluations, latest first, including void ones."""
    caller.require_working_role()
    with sessions() as session:
        base = base_model_by_digest(session, digest)
        if base is None:
            raise not_found("base model", digest)
        found = evaluations_page(session, caller, EvaluationRow.base_model_id == base.id, page)
    return PageOut(items=[evaluation_out(row) for row in found.items], next=found.next)


@router.get(BELOW_VERSION, responses=refuses(NotFoundError))
def list_evaluations(
    prefix: PrefixPath, number: Number, sessions: SessionsDep, caller: Caller, page: PageQuery
) -> PageOut[EvaluationOut]:
    """List the evaluations of a version's content, latest first, including void ones.

    Those recorded for other versions of the same content are listed too, if you can see them. Not
    for readers.
    """
    caller.require_visible(prefix)
    with sessions() as session:
        version = visible_version(session, caller, prefix, number)
        found = evaluations_page(session, caller, EvaluationRow.content == version.content, page)
    return PageOut(items=[evaluation_out(row) for row in found.items], next=found.next)


@router.post(
    "/evaluations/{evaluation_id}/void",
    dependencies=[needs_visibility_of("evaluation")],
    responses=refuses(ForbiddenError, NotFoundError, SeparationOfDutiesError, AlreadyVoidError),
)
def void_evaluation(
    evaluation_id: UUID, body: JsonBody[VoidIn], transactions: TransactionsDep
) -> EvaluationOut:
    """Void an evaluation: it stays on record but no longer counts. Its author cannot void it."""
    row = evaluations.void(transactions, evaluation_id=evaluation_id, reason=body.reason)
    return evaluation_out(row)
