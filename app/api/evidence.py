"""How evaluations look over HTTP: what is reported, and what is answered."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from app.api.fields import Digest, In, JsonObject, Line, Out, Time
from app.db.models import EvaluationRow
from app.domain.evidence import Cell, CellKey, EvidenceKind, Result
from app.domain.reports import Claim, Report


class ClaimIn(In):
    """Of which suite version an evaluation is, and of exactly which artifact."""

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

    def result(self) -> Result:
        key = CellKey(self.metric, self.persona, self.locale)
        return Result(key, Cell(self.samples, self.value, self.stderr))


class EvaluationIn(ClaimIn):
    """Aggregates of one suite version, measured on exactly the artifact named by `digest`."""

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
    partial: bool
    partial_reasons: list[str] = Field(description="Why it is partial, in sentences.")
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
        description="What it was recorded from: its samples, and the files that were imported."
    )


def evaluation_out(row: EvaluationRow) -> EvaluationOut:
    void = row.voided
    return EvaluationOut(
        id=row.id,
        digest=row.digest,
        evidence=row.kind,
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
