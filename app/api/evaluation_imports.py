"""Importing runs of other evaluation tools over HTTP; each is recorded as an evaluation."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Depends, Request
from pydantic import Field, model_validator
from starlette.concurrency import run_in_threadpool

from app.api.evaluation_models import (
    BELOW_BASE_MODEL,
    BELOW_VERSION,
    REFUSALS,
    BaseModelPath,
    ClaimIn,
    EvaluationOut,
    RecorderDep,
)
from app.api.fields import In, Line, Number
from app.domain.evidence.imports.inspect_log import LogMap, Source
from app.domain.evidence.imports.lm_eval import TaskMap
from app.domain.identity.access import Role
from app.http.deps import Caller, LimitsDep, PrefixPath
from app.http.multipart import parsed_part, received_lists, received_parts
from app.http.role_checks import needs, needs_everywhere
from app.services.evidence.inspect_logs import InspectRun
from app.services.evidence.lm_eval import LmEvalRun
from app.services.evidence.submissions import Submission

router = APIRouter(tags=["evidence"])
_MOST_TASKS: Final = 64
_RESULTS_LIMIT_BYTES: Final = 32 << 20


class TaskIn(In):
    """Maps the scores of one task to a persona, a locale and metrics of the suite."""

    task: Line
    persona: Line
    locale: Line
    metrics: dict[Line, Line] = Field(
        min_length=1,
        max_length=64,
        description="The suite's metric for each of the tool's `metric,filter` keys.",
        examples=[{"acc,none": "tone"}],
    )


class LmEvalIn(ClaimIn):
    """The artifact that a run of lm-evaluation-harness measured, and its tasks in the suite."""

    map: list[TaskIn] = Field(min_length=1, max_length=_MOST_TASKS)

    def maps(self) -> list[TaskMap]:
        return [TaskMap(task.task, task.persona, task.locale, task.metrics) for task in self.map]


class SourceIn(In):
    """A key in each sample's metadata, or one value for all samples."""

    metadata: Line | None = None
    value: Line | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.metadata is None) == (self.value is None):
            raise ValueError("give either metadata or value")
        return self

    def source(self) -> Source:
        return Source(self.metadata, self.value)


class InspectIn(ClaimIn):
    """The artifact that a run of Inspect measured, and its samples and scorers in the suite."""

    persona: SourceIn
    locale: SourceIn
    metrics: dict[Line, Line] = Field(
        min_length=1,
        max_length=64,
        description="The suite's metric for each scorer name.",
        examples=[{"match": "tone"}],
    )

    def log_map(self) -> LogMap:
        return LogMap(self.persona.source(), self.locale.source(), self.metrics)


async def _lm_eval(
    request: Request, _caller: Caller, limits: LimitsDep
) -> AsyncIterator[Submission]:
    """Read a run of lm-evaluation-harness, after authenticating the caller."""
    sizes = {
        "evaluation": limits.report_bytes,
        "results": min(limits.samples_bytes, _RESULTS_LIMIT_BYTES),
        "samples": limits.samples_bytes,
    }
    async with received_lists(request, sizes, most={"samples": _MOST_TASKS}) as parts:
        one = {name: files[0] for name, files in parts.items()}
        described = await run_in_threadpool(parsed_part, LmEvalIn, one, "evaluation")
        run = LmEvalRun(described.maps(), parts["results"][0], parts["samples"])
        yield run.submission(described.claim())


async def _inspect(
    request: Request, _caller: Caller, limits: LimitsDep
) -> AsyncIterator[Submission]:
    """Read a log of Inspect, after authenticating the caller."""
    sizes = {"evaluation": limits.report_bytes, "log": limits.samples_bytes}
    async with received_parts(request, sizes) as parts:
        described = await run_in_threadpool(parsed_part, InspectIn, parts, "evaluation")
        yield InspectRun(described.log_map(), parts["log"]).submission(described.claim())


def _body(form: str, **files: str) -> dict[str, Any]:
    """Document a multipart body: the JSON part that describes it, and one part per file."""
    properties: dict[str, Any] = {
        "evaluation": {"$ref": f"#/components/schemas/{form}"},
    }
    for name, description in files.items():
        file = {"type": "string", "contentMediaType": "application/octet-stream"}
        properties[name] = file | {"description": description}
    schema = {"type": "object", "required": list(properties), "properties": properties}
    encoding = {"evaluation": {"contentType": "application/json"}}
    content = {"multipart/form-data": {"schema": schema, "encoding": encoding}}
    return {"requestBody": {"required": True, "content": content}}


_LM_EVAL: Final = _body(
    "LmEvalIn",
    results="results_<time>.json, as the tool wrote it.",
    samples="samples_<task>_<time>.jsonl under that name, plain or gzip; one part per task.",
)
_INSPECT: Final = _body("InspectIn", log="The log, as .eval or .json.")
LmEvalDep = Annotated[Submission, Depends(_lm_eval)]
InspectDep = Annotated[Submission, Depends(_inspect)]


@router.post(
    f"{BELOW_VERSION}/lm-eval",
    status_code=201,
    openapi_extra=_LM_EVAL,
    dependencies=[needs(Role.EVALUATOR)],
    responses=REFUSALS,
)
def import_lm_eval(
    prefix: PrefixPath, number: Number, run: LmEvalDep, recorder: RecorderDep
) -> EvaluationOut:
    """Record a run of lm-evaluation-harness as an evaluation of a version."""
    return recorder.of_version(prefix, number, run)


@router.post(
    f"{BELOW_VERSION}/inspect",
    status_code=201,
    openapi_extra=_INSPECT,
    dependencies=[needs(Role.EVALUATOR)],
    responses=REFUSALS,
)
def import_inspect(
    prefix: PrefixPath, number: Number, run: InspectDep, recorder: RecorderDep
) -> EvaluationOut:
    """Record a run of Inspect as an evaluation of a version."""
    return recorder.of_version(prefix, number, run)


@router.post(
    f"{BELOW_BASE_MODEL}/lm-eval",
    status_code=201,
    openapi_extra=_LM_EVAL,
    dependencies=[needs_everywhere(Role.EVALUATOR)],
    responses=REFUSALS,
)
def import_lm_eval_control_run(
    digest: BaseModelPath, run: LmEvalDep, recorder: RecorderDep
) -> EvaluationOut:
    """Record a run of lm-evaluation-harness as a control run of a base model."""
    return recorder.of_base_model(digest, run)


@router.post(
    f"{BELOW_BASE_MODEL}/inspect",
    status_code=201,
    openapi_extra=_INSPECT,
    dependencies=[needs_everywhere(Role.EVALUATOR)],
    responses=REFUSALS,
)
def import_inspect_control_run(
    digest: BaseModelPath, run: InspectDep, recorder: RecorderDep
) -> EvaluationOut:
    """Record a run of Inspect as a control run of a base model."""
    return recorder.of_base_model(digest, run)
