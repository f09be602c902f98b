"""Submitted evaluations: checking a report against its suite, and building its rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
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
from app.domain.errors import (
    EvidenceForAnotherArtifactError,
    Fault,
    UnknownReferenceError,
)
from app.domain.evidence.evaluation import CellResult, EvidenceKind, result_faults
from app.domain.evidence.levels import CLOCK_SKEW, Level, level_of
from app.domain.evidence.manifests import Manifest
from app.domain.evidence.measured import Subject, measured_faults
from app.domain.evidence.prompts import prompt_faults, prompts_in_two_cells
from app.domain.evidence.reports import Claim, Report, require_faultless
from app.domain.evidence.rows import LINE_LIMIT_BYTES
from app.domain.evidence.samples import SampleSet, disagreements, read_samples
from app.domain.evidence.suites import Suite, setting_faults
from app.domain.identity.access import EVERYWHERE, Caller, Role
from app.domain.naming import canonical_digest, rfc3339
from app.services.artifacts.spooled_files import ReceivedFile
from app.services.evidence.jsonl import is_gzip, lines_of

# The names under which an evaluation's own samples are stored, plain and gzip.
SAMPLES_FILES: Final = ("samples.jsonl", "samples.jsonl.gz")


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
class Circumstances:
    """The facts that a report is checked against.

    Attributes:
        suite: The suite version that the report names.
        manifest: The samples of the suite, None if it is open.
        now: The registry's time.
        subject: The artifact of the report.
        pushed_at: When the content was first pushed; None for a base model.
    """

    suite: SuiteRow
    manifest: Manifest | None
    now: datetime
    subject: Subject
    pushed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked report, with the cells that are recorded."""

    report: Report
    suite: SuiteRow
    level: Level
    level_reason: str | None
    results: Sequence[CellResult]
    partial_reasons: Sequence[str]
    files: Sequence[tuple[str, ReceivedFile]]
    samples: SampleSet | None = None

    @property
    def distinct(self) -> list[str]:
        """The digests of files that runs of two artifacts cannot share.

        The rows that were converted from another tool's files may be equal: the files are not.
        """
        sent = [file.sha256 for name, file in self.files if name not in SAMPLES_FILES]
        return sent or [file.sha256 for _, file in self.files]

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


def check(submitted: Submitted, facts: Circumstances) -> Checked:
    """Check a report; with samples, recompute its cells from them.

    On a sealed suite, missing scores count as the worst value, and no run is partial. On an open
    one, a cell that lacks some of its persona's samples makes the run partial, because the harness
    failed to score part of the suite.

    Raises:
        InvalidEvaluationError: The report contradicts its suite, its samples or the clock. The
            error lists all faults, but only the first ones of a samples file.
    """
    report, suite = submitted.report, suite_of(facts.suite)
    faults = [
        *result_faults(suite, report.results),
        *setting_faults(suite, report.settings),
        *(measured_faults(report.measured, facts.subject) if report.measured else ()),
        *_time_faults(report, facts.now),
    ]
    if submitted.samples is None and not report.results:
        faults.append(Fault("no-results", "The report has neither results nor samples."))
    samples = None
    if submitted.samples is not None:
        samples, found = _read(submitted.samples, report, suite, facts.manifest)
        faults += found
    require_faultless(faults)
    level, level_reason = level_of(
        has_samples=samples is not None,
        sealed=facts.manifest is not None,
        finished_at=report.finished_at,
        pushed_at=facts.pushed_at,
    )
    return Checked(
        report,
        facts.suite,
        level,
        level_reason,
        report.results if samples is None else samples.results(),
        _partial_reasons(report, samples, facts.manifest),
        submitted.files,
        samples,
    )


def _read(
    file: ReceivedFile, report: Report, suite: Suite, manifest: Manifest | None
) -> tuple[SampleSet | None, list[Fault]]:
    lines = lines_of(file.content, limit_bytes=LINE_LIMIT_BYTES)
    samples, found = read_samples(lines, suite, sparse=report.sparse, manifest=manifest)
    faults = list(found)
    if samples is not None:
        faults += disagreements(samples, report.results)
        shared = set() if suite.sealed else prompts_in_two_cells(samples)
        if shared:
            again = lines_of(file.content, limit_bytes=LINE_LIMIT_BYTES)
            faults += prompt_faults(again, shared)
    return samples, faults


def _partial_reasons(
    report: Report, samples: SampleSet | None, manifest: Manifest | None
) -> list[str]:
    if samples is not None and manifest is not None:
        return []
    uneven = () if samples is None else samples.uneven
    reasons = [f"{key} lacks some of its persona's samples." for key in uneven]
    return [*report.partial_reasons, *reasons]


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
        evidence_level=checked.level,
        level_reason=checked.level_reason,
        partial=bool(checked.partial_reasons),
        partial_reasons=list(checked.partial_reasons),
        harness=dict(report.harness),
        settings=dict(report.settings),
        started_at=report.started_at,
        finished_at=report.finished_at,
        recorded_at=now,
        evaluator_id=caller.id,
        scope=_scope(caller, version),
        cells=[_cell(result, checked.samples) for result in checked.results],
        files=[EvaluationFile(name, file.sha256, file.size_bytes) for name, file in checked.files],
    )
    evaluation.digest = digest_of(evaluation, artifact, checked.suite.digest)
    return evaluation, _scores(evaluation.id, checked.samples)


def _scope(caller: Caller, version: Version | None) -> str:
    """Return the namespace in which the caller is an evaluator, or `*`."""
    if version is None or Role.EVALUATOR in caller.roles(EVERYWHERE):
        return EVERYWHERE
    return version.prefix.namespace


def _cell(result: CellResult, samples: SampleSet | None) -> EvaluationCell:
    return EvaluationCell(
        metric=result.key.metric,
        persona=result.key.persona,
        locale=result.key.locale,
        samples=result.cell.samples,
        mean=result.cell.mean,
        stderr=result.cell.stderr,
        missing=0 if samples is None else samples.missing.get(result.key, 0),
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
            "level": evaluation.evidence_level,
            "level_reason": evaluation.level_reason,
            "files": sorted([file.name, file.sha256, file.size_bytes] for file in evaluation.files),
            "partial_reasons": evaluation.partial_reasons,
            "harness": evaluation.harness,
            "settings": evaluation.settings,
            "started_at": rfc3339(evaluation.started_at),
            "finished_at": rfc3339(evaluation.finished_at),
            "cells": sorted(
                [
                    *(cell.metric, cell.persona, cell.locale),
                    *(cell.samples, cell.mean, cell.stderr, cell.missing),
                ]
                for cell in evaluation.cells
            ),
        }
    )


def _time_faults(report: Report, now: datetime) -> Iterator[Fault]:
    if report.finished_at < report.started_at:
        yield Fault("ends-before-start", "finished_at is before started_at.")
    if report.finished_at > now + CLOCK_SKEW:
        yield Fault("ends-in-future", f"finished_at is in the future; it is now {now.isoformat()}.")
