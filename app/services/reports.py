"""What evaluators report: checking it against its suite, and the rows it becomes."""

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import IO, Final
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.evaluations import suite_of, suite_versioned
from app.db.models import EvaluationCell, EvaluationRow, EvaluationScores, SuiteRow
from app.db.session import present
from app.domain.access import Caller
from app.domain.errors import (
    EvidenceForAnotherArtifactError,
    Fault,
    InvalidEvaluationError,
    UnknownReferenceError,
)
from app.domain.evidence import EvidenceKind, Result, result_faults
from app.domain.identity import Json, canonical_digest, rfc3339
from app.domain.samples import LINE_LIMIT_BYTES, SampleSet, disagreements, read_samples
from app.services.received import ReceivedFile

_CLOCK_SKEW: Final = timedelta(minutes=5)
_GZIP: Final = b"\x1f\x8b"
_EXPANDED_LIMIT_BYTES: Final = 4 << 30


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluator reports of one suite version on one artifact.

    `results` are aggregates. With samples they may be left out; if given, they must agree.
    """

    suite: str
    suite_version: str
    digest: str
    harness: Mapping[str, Json]
    settings: Mapping[str, Json]
    started_at: datetime
    finished_at: datetime
    partial: bool
    results: Sequence[Result]


@dataclass(frozen=True, slots=True)
class Checked:
    """A report that may be recorded, with the cells that count."""

    report: Report
    suite: SuiteRow
    results: Sequence[Result]
    partial: bool
    samples: SampleSet | None = None
    file: ReceivedFile | None = field(default=None, repr=False)


def require_same_artifact(report: Report, digest: str, name: str) -> None:
    """Raise EvidenceForAnotherArtifactError unless the report is of exactly `digest`."""
    if report.digest != digest:
        raise EvidenceForAnotherArtifactError(
            f"The evaluation is of {report.digest}, but {name} is {digest}; evaluate that."
        )


def suite_for(session: Session, report: Report) -> SuiteRow:
    """Return the suite version that the report names, or raise UnknownReferenceError."""
    row = suite_versioned(session, report.suite, report.suite_version)
    if row is None:
        name = f"{report.suite}@{report.suite_version}"
        raise UnknownReferenceError(f"There is no suite {name}; an admin must register it.")
    return row


def check(report: Report, suite: SuiteRow, samples: ReceivedFile | None, now: datetime) -> Checked:
    """Return what may be recorded of a report; with samples, the cells recomputed from them.

    A cell that misses some of its persona's samples makes the run partial: a harness that
    could not score a sample has not measured the whole.

    Raises:
        InvalidEvaluationError: The report contradicts its suite, its samples or the clock; all
            faults, of a samples file the first ones.
    """
    faults = [*result_faults(suite_of(suite), report.results), *_time_faults(report, now)]
    if samples is None and not report.results:
        faults.append(Fault("no-results", "Report results, or send samples."))
    if samples is None:
        _raise_if(faults)
        return Checked(report, suite, report.results, report.partial)
    found, sample_faults = read_samples(_lines(samples.content), suite_of(suite))
    faults += sample_faults
    if found is not None:
        faults += disagreements(found, report.results)
    _raise_if(faults)
    checked = present(found)
    partial = report.partial or bool(checked.uneven)
    return Checked(report, suite, checked.results(), partial, checked, samples)


def rows_of(
    checked: Checked,
    *,
    artifact: str,
    version_id: UUID | None,
    base_model_id: UUID | None,
    caller: Caller,
    now: datetime,
) -> tuple[EvaluationRow, list[EvaluationScores]]:
    """Return the evaluation with its cells, and its packed samples."""
    report, file = checked.report, checked.file
    evaluation = EvaluationRow(
        version_id=version_id,
        base_model_id=base_model_id,
        suite_id=checked.suite.id,
        digest="",
        kind=EvidenceKind.AGGREGATES if file is None else EvidenceKind.SAMPLES,
        partial=checked.partial,
        harness=dict(report.harness),
        settings=dict(report.settings),
        started_at=report.started_at,
        finished_at=report.finished_at,
        recorded_at=now,
        samples_sha256=None if file is None else file.sha256,
        samples_size_bytes=None if file is None else file.size_bytes,
        evaluator_id=caller.id,
        cells=[_cell(result) for result in checked.results],
    )
    evaluation.digest = digest_of(evaluation, artifact, checked.suite.digest)
    return evaluation, _scores(evaluation.id, checked.samples)


def _cell(result: Result) -> EvaluationCell:
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
        )
        for key, scores in samples.scores.items()
    ]


def digest_of(evaluation: EvaluationRow, artifact: str, suite: str) -> str:
    """Bind everything that was recorded, and the id, so that no two evaluations share it."""
    return canonical_digest(
        {
            "schema": "prefix-registry/evaluation/v1",
            "id": str(evaluation.id),
            "artifact": artifact,
            "suite": suite,
            "evaluator_id": str(evaluation.evaluator_id),
            "evidence": evaluation.kind.value,
            "samples": evaluation.samples_sha256,
            "partial": evaluation.partial,
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
        yield Fault("ends-before-start", "finished_at lies before started_at.")
    if report.finished_at > now + _CLOCK_SKEW:
        yield Fault("ends-in-future", f"finished_at lies after {now.isoformat()}.")


def _lines(content: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file, plain or gzip, none longer than a little above the limit.

    Raises:
        InvalidEvaluationError: It is broken gzip, or expands without end.
    """
    content.seek(0)
    packed = content.read(len(_GZIP)) == _GZIP
    content.seek(0)
    expanded = 0
    file = gzip.GzipFile(fileobj=content, mode="rb") if packed else content
    try:
        while line := file.readline(LINE_LIMIT_BYTES + 1):
            expanded += len(line)
            if expanded > _EXPANDED_LIMIT_BYTES:
                message = f"The samples expand to more than {_EXPANDED_LIMIT_BYTES} bytes."
                _raise_if([Fault("too-large", message)])
            yield line
    except (OSError, EOFError, zlib.error):
        _raise_if([Fault("not-gzip", "The samples begin as gzip but cannot be unpacked.")])


def _raise_if(faults: Sequence[Fault]) -> None:
    if faults:
        raise InvalidEvaluationError("The evaluation is refused; see faults.", faults)
