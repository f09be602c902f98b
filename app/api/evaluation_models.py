"""Request and response models of evaluations, and the recorder that their endpoints share."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Depends, Path, Response
from pydantic import Field

from app.api.fields import Digest, In, JsonObject, Line, Out, Time
from app.db.models import EvaluationRow
from app.domain.artifacts.quotas import QuotaLimits
from app.domain.errors import (
    EvidenceForAnotherArtifactError,
    EvidenceReusedError,
    ForbiddenError,
    InvalidEvaluationError,
    NotFoundError,
    QuotaExceededError,
    TooLargeError,
    UnknownReferenceError,
    UnsupportedMediaTypeError,
)
from app.domain.evidence.evaluation import Cell, CellKey, CellResult, EvidenceKind
from app.domain.evidence.reports import Claim, Report
from app.domain.naming import DIGEST_PATTERN, PrefixName
from app.http.deps import BlobsDep, QuotaDep, TransactionsDep
from app.http.problems import refuses
from app.services.evidence import evaluations
from app.services.evidence.submissions import Submission
from app.services.transactions import Transactions
from app.storage.blobs import Blobs


class ClaimIn(In):
    """The suite version that was run, and the digest of the artifact that was measured."""

    suite: Line
    suite_version: Line
    digest: Digest

    def claim(self) -> Claim:
        return Claim(self.suite, self.suite_version, self.digest)


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

    def result(self) -> CellResult:
        key = CellKey(self.metric, self.persona, self.locale)
        return CellResult(key, Cell(self.samples, self.value, self.stderr))


class EvaluationIn(ClaimIn):
    """Aggregates of one suite version, measured on exactly the artifact named by `digest`."""

    harness: HarnessIn
    started_at: Time
    finished_at: Time
    partial: bool = Field(
        default=False,
        description="True if the run was limited or left samples unscored. On a sealed suite the "
        "registry counts the missing samples itself.",
    )
    settings: JsonObject = Field(default_factory=dict, description="Seed, decoding settings.")
    results: list[ResultIn] = Field(
        default_factory=list,
        max_length=10_000,
        description="Aggregates per cell. Optional with samples, but must agree with them.",
    )

    def report(self) -> Report:
        reasons = ["The report says that it is partial."] if self.partial else []
        return Report(
            harness=self.harness.model_dump(),
            settings=self.settings,
            started_at=self.started_at,
            finished_at=self.finished_at,
            partial_reasons=reasons,
            results=[result.result() for result in self.results],
        )


class CellOut(Out):
    metric: str
    persona: str
    locale: str
    samples: int
    mean: float
    stderr: float | None
    missing: int = Field(description="Samples without a score; they count as the worst value.")


class EvidenceFileOut(Out):
    name: str
    sha256: str
    size_bytes: int


class VoidedOut(Out):
    reason: str
    at: datetime
    by: str


class EvaluationOut(Out):
    id: UUID
    digest: str
    evidence: EvidenceKind
    level: int = Field(description="0 reported, 1 recomputed from samples, 2 on a sealed suite.")
    level_reason: str | None = Field(description="Why the level is 0, otherwise null.")
    missing: int = Field(description="Scores that the run lacks on a sealed suite, over all cells.")
    partial: bool
    partial_reasons: list[str] = Field(description="Why it is partial, one sentence per reason.")
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
    files: list[EvidenceFileOut] = Field(
        description="The files it was recorded from: samples and imported files."
    )


def evaluation_out(row: EvaluationRow) -> EvaluationOut:
    void = row.voided
    return EvaluationOut(
        id=row.id,
        digest=row.digest,
        evidence=row.kind,
        level=row.evidence_level,
        level_reason=row.level_reason,
        missing=row.missing,
        partial=row.partial,
        partial_reasons=row.partial_reasons,
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
        files=[EvidenceFileOut.model_validate(file) for file in row.files],
    )


BELOW_BASE_MODEL: Final = "/base-models/{digest}/evaluations"
BELOW_VERSION: Final = "/prefixes/{namespace}/{name}/versions/{number}/evaluations"
BaseModelPath = Annotated[str, Path(pattern=DIGEST_PATTERN)]
REFUSALS: Final = refuses(
    ForbiddenError,
    NotFoundError,
    QuotaExceededError,
    EvidenceForAnotherArtifactError,
    EvidenceReusedError,
    TooLargeError,
    UnsupportedMediaTypeError,
    UnknownReferenceError,
    InvalidEvaluationError,
)


@dataclass(frozen=True, slots=True)
class Recorder:
    """Records a submission and returns the response, for versions and base models."""

    transactions: Transactions
    blobs: Blobs
    quota: QuotaLimits
    response: Response

    def of_version(self, prefix: PrefixName, number: int, submission: Submission) -> EvaluationOut:
        row = evaluations.record(
            self.transactions,
            self.blobs,
            prefix=prefix,
            number=number,
            submission=submission,
            quota=self.quota,
        )
        self.response.headers["Location"] = f"/v1/prefixes/{prefix}/versions/{number}/evaluations"
        return evaluation_out(row)

    def of_base_model(self, digest: str, submission: Submission) -> EvaluationOut:
        row = evaluations.record_control_run(
            self.transactions,
            self.blobs,
            base_model=digest,
            submission=submission,
        )
        self.response.headers["Location"] = f"/v1/base-models/{digest}/evaluations"
        return evaluation_out(row)


async def _recorder(
    transactions: TransactionsDep, blobs: BlobsDep, quota: QuotaDep, response: Response
) -> Recorder:
    return Recorder(transactions, blobs, quota, response)


RecorderDep = Annotated[Recorder, Depends(_recorder)]
