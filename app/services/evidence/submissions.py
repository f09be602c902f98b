"""Submitted evaluations: checking a report against its suite, and building its rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.evaluations import suite_of, suite_versioned
from app.db.models import (
    EvaluationCell,
    EvaluationFile,
    EvaluationRow,
    EvaluationScores,
    SuiteRow,
    Version,
)
from app.db.session import expect
from app.domain.errors import (
    EvidenceForAnotherArtifactError,
    Fault,
    UnknownReferenceError,
)
from app.domain.evidence.evaluation import CellResult, EvidenceKind, result_faults
from app.domain.evidence.reports import Claim, Report, require_faultless
from app.domain.evidence.rows import LINE_LIMIT_BYTES
from app.domain.evidence.samples import SampleSet, disagreements, read_samples
from app.domain.evidence.suites import Suite
from app.domain.identity.access import EVERYWHERE, Caller, Role
from app.domain.naming import canonical_digest, rfc3339
from app.services.artifacts.spooled_files import ReceivedFile
from app.services.evidence.jsonl import is_gzip, lines_of

# The names under which an evaluation's own samples are stored, plain and gzip.
SAMPLES_FILES: Final = ("samples.jsonl", "samples.jsonl.gz")

_CLOCK_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Submitted:
    """A report with its samples, and the files of another tool that both were read from."""

    report: Report
    samples: ReceivedFile | None = None
    sources: Sequence[tuple[str, ReceivedFile]] = ()

    @property
    def files(self) -> list[tuple[str, ReceivedFile]]:
        """The files to store, with their names."""
        if self.samples is None:
            return list(self.sources)
        plain, packed = SAMPLES_FILES
        name = packed if is_gzip(self.samples.content) else plain
        return [(name, self.samples), *self.sources]


@dataclass(frozen=True, slots=True)
class Submission:
    """A received evaluation: the artifact and suite it claims, and how to read it."""

    claim: Claim
    read: Callable[[Suite], AbstractContextManager[Submitted]]


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked report, with the cells that are recorded."""

    report: Report
    suite: SuiteRow
    results: Sequence[CellResult]
    partial_reasons: Sequence[str]
    files: Sequence[tuple[str, ReceivedFile]]
    samples: SampleSet | None = None

    @property
    def contents(self) -> list[ReceivedFile]:
        return [content for _, content in self.files]


def require_same_artifact(claim: Claim, digest: str, name: str) -> None:
    """Check that a report is of the artifact with the given digest.

    Raises:
        EvidenceForAnotherArtifactError: The report is of a different artifact.
    """
    if claim.digest != digest:
        raise EvidenceForAnotherArtifactError(
            f"The evaluation is of {claim.digest}, but {name} has the digest {digest}."
        )


def suite_for(session: Session, claim: Claim) -> SuiteRow:
    """Return the suite version that the report names.

    Raises:
        UnknownReferenceError: The suite version is not registered.
    """
    row = suite_versioned(session, claim.suite, claim.suite_version)
    if row is None:
        raise UnknownReferenceError(
            f"The suite {claim.suite_name} is not registered; ask an admin to register it."
        )
    return row


def check(submitted: Submitted, suite: SuiteRow, now: datetime) -> Checked:
    """Check a report; with samples, recompute its cells from them.

    A cell that lacks some of its persona's samples makes the run partial, because the harness
    failed to score part of the suite.

    Raises:
        InvalidEvaluationError: The report contradicts its suite, its samples or the clock. The
            error lists all faults, but only the first ones of a samples file.
    """
    report, samples = submitted.report, submitted.samples
    faults = [*result_faults(suite_of(suite), report.results), *_time_faults(report, now)]
    if samples is None and not report.results:
        faults.append(Fault("no-results", "The report has neither results nor samples."))
    reasons, files = list(report.partial_reasons), submitted.files
    if samples is None:
        require_faultless(faults)
        return Checked(report, suite, report.results, reasons, files)
    lines = lines_of(samples.content, limit_bytes=LINE_LIMIT_BYTES)
    found, sample_faults = read_samples(lines, suite_of(suite), sparse=report.sparse)
    faults += sample_faults
    if found is not None:
        faults += disagreements(found, report.results)
    require_faultless(faults)
    checked = expect(found)
    reasons += [f"{key} lacks some of its persona's samples." for key in checked.uneven]
    return Checked(report, suite, checked.results(), reasons, files, checked)


def rows_of(
    checked: Checked,
    *,
    artifact: str,
    version: Version | None,
    base_model_id: UUID | None,
    caller: Caller,
    now: datetime,
) -> tuple[EvaluationRow, list[EvaluationScores]]:
    """Return the row of an evaluation with its cells and files, and the rows of its scores."""
    report = checked.report
    evaluation = EvaluationRow(
        version_id=None if version is None else version.id,
        content=None if version is None else version.content,
        base_model_id=base_model_id,
        suite_id=checked.suite.id,
        digest="",
        kind=EvidenceKind.AGGREGATES if checked.samples is None else EvidenceKind.SAMPLES,
        partial=bool(checked.partial_reasons),
        partial_reasons=list(checked.partial_reasons),
        harness=dict(report.harness),
        settings=dict(report.settings),
        started_at=report.started_at,
        finished_at=report.finished_at,
        recorded_at=now,
        evaluator_id=caller.id,
        scope=_scope(caller, version),
        cells=[_cell(result) for result in checked.results],
        files=[EvaluationFile(name, file.sha256, file.size_bytes) for name, file in checked.files],
    )
    evaluation.digest = digest_of(evaluation, artifact, checked.suite.digest)
    return evaluation, _scores(evaluation.id, checked.samples)


def _scope(caller: Caller, version: Version | None) -> str:
    """Return the namespace in which the caller is an evaluator, or `*`."""
    if version is None or Role.EVALUATOR in caller.roles(EVERYWHERE):
        return EVERYWHERE
    return version.prefix.namespace


def _cell(result: CellResult) -> EvaluationCell:
    return EvaluationCell(
        metric=result.key.metric,
        persona=result.key.persona,
        locale=result.key.locale,
        samples=result.cell.samples,
        mean=result.cell.mean,
        stderr=result.cell.stderr,
    )


def _scores(evaluation_id: UUID, samples: SampleSet | None) -> list[EvaluationScores]:
    if samples is None:
        return []
    return [
        EvaluationScores(
            evaluation_id=evaluation_id,
            metric=key.metric,
            persona=key.persona,
            locale=key.locale,
            keys_packed=scores.keys.tobytes(),
            values_packed=scores.values.tobytes(),
            clusters_packed=scores.clusters.tobytes(),
        )
        for key, scores in samples.scores.items()
    ]


def digest_of(evaluation: EvaluationRow, artifact: str, suite: str) -> str:
    """Return the digest of all recorded facts and the id, so that each evaluation's is unique."""
    return canonical_digest(
        {
            "schema": "prefix-registry/evaluation/v1",
            "id": str(evaluation.id),
            "artifact": artifact,
            "suite": suite,
            "evaluator_id": str(evaluation.evaluator_id),
            "evidence": evaluation.kind.value,
            "files": sorted([file.name, file.sha256, file.size_bytes] for file in evaluation.files),
            "partial_reasons": evaluation.partial_reasons,
            "harness": evaluation.harness,
            "settings": evaluation.settings,
            "started_at": rfc3339(evaluation.started_at),
            "finished_at": rfc3339(evaluation.finished_at),
            "cells": sorted(
                [cell.metric, cell.persona, cell.locale, cell.samples, cell.mean, cell.stderr]
                for cell in evaluation.cells
            ),
        }
    )


def _time_faults(report: Report, now: datetime) -> Iterator[Fault]:
    if report.finished_at < report.started_at:
        yield Fault("ends-before-start", "finished_at is before started_at.")
    if report.finished_at > now + _CLOCK_SKEW:
        yield Fault("ends-in-future", f"finished_at is in the future; it is now {now.isoformat()}.")
