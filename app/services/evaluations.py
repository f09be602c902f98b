"""Recording evaluations, and voiding them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from app.db import audit
from app.db.evaluations import evaluation_by_id, suite_of, suite_versioned
from app.db.models import EvaluationCell, EvaluationRow, EvaluationVoid, SuiteRow, Version
from app.db.session import Sessions, present
from app.db.versions import version_numbered
from app.domain.access import Caller, Role, nothing_named
from app.domain.audit import Facts, happened, subject_of
from app.domain.errors import (
    AlreadyVoidError,
    EvidenceForAnotherArtifactError,
    Fault,
    InvalidEvaluationError,
    SeparationOfDutiesError,
    UnknownReferenceError,
)
from app.domain.evidence import EvidenceKind, Result, result_faults
from app.domain.identity import Json, PrefixName, canonical_digest, rfc3339
from app.services.reassessment import reassess
from app.services.sight import lock_prefix_as, missing_version

_CLOCK_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluator reports: aggregates of one suite version on one artifact."""

    suite: str
    suite_version: str
    digest: str
    harness: Mapping[str, Json]
    settings: Mapping[str, Json]
    started_at: datetime
    finished_at: datetime
    partial: bool
    results: Sequence[Result]


def record(
    sessions: Sessions,
    *,
    prefix: PrefixName,
    number: int,
    report: Report,
    caller: Caller,
    now: datetime,
) -> EvaluationRow:
    """Record an evaluation of a version; what was pending on the version is judged again.

    Raises:
        NotFoundError: There is no such version for this caller.
        ForbiddenError: The caller is no evaluator here.
        EvidenceForAnotherArtifactError: The report is of other bytes than that version's.
        UnknownReferenceError: The suite version is not registered.
        InvalidEvaluationError: The report contradicts its suite; all faults.
    """
    with sessions.begin() as session:
        row = lock_prefix_as(Role.EVALUATOR, session, caller, prefix)
        version = version_numbered(session, prefix, number)
        if version is None:
            raise missing_version(prefix, number)
        _require_same_artifact(version, report)
        suite = _suite(session, report)
        _require_valid(suite, report, now)
        evaluation = _row(version, suite, report, caller, now)
        session.add(evaluation)
        facts: Facts = {
            "evaluation_id": str(evaluation.id),
            "digest": evaluation.digest,
            "version": number,
            "version_id": str(version.id),
            "suite": f"{report.suite}@{report.suite_version}",
        }
        event = happened(subject_of(prefix), "evaluation.record", facts, caller=caller, now=now)
        audit.append(session, event)
        reassess(session, row, now=now)
        return present(evaluation_by_id(session, evaluation.id))


def void(
    sessions: Sessions, *, evaluation_id: UUID, reason: str, caller: Caller, now: datetime
) -> EvaluationRow:
    """Take an evaluation out of the evidence, on the record; it stays readable.

    Raises:
        NotFoundError: There is no such evaluation for this caller.
        ForbiddenError: The caller is no approver here.
        SeparationOfDutiesError: The caller recorded it.
        AlreadyVoidError: It is void already.
    """
    with sessions() as session:
        known = evaluation_by_id(session, evaluation_id)
    missing = nothing_named("evaluation", str(evaluation_id))
    if known is None or known.version is None:
        raise missing
    prefix = known.version.prefix.full_name
    if not caller.sees_everything(prefix.namespace):
        raise missing
    with sessions.begin() as session:
        row = lock_prefix_as(Role.APPROVER, session, caller, prefix)
        evaluation = present(evaluation_by_id(session, evaluation_id))
        _require_voidable(evaluation, caller)
        session.add(EvaluationVoid(evaluation_id, reason, now, caller.id))
        facts: Facts = {
            "evaluation_id": str(evaluation_id),
            "digest": known.digest,
            "reason": reason,
        }
        event = happened(subject_of(prefix), "evaluation.void", facts, caller=caller, now=now)
        audit.append(session, event)
        reassess(session, row, now=now)
        return present(evaluation_by_id(session, evaluation_id))


def _require_voidable(evaluation: EvaluationRow, caller: Caller) -> None:
    if evaluation.voided is not None:
        by = evaluation.voided.voided_by.name
        raise AlreadyVoidError(f"{by} voided the evaluation {evaluation.id} already.")
    if evaluation.evaluator_id == caller.id:
        message = f"{caller.name} recorded this evaluation; another approver must void it."
        raise SeparationOfDutiesError(message)


def _require_same_artifact(version: Version, report: Report) -> None:
    if report.digest != version.digest:
        raise EvidenceForAnotherArtifactError(
            f"The evaluation is of {report.digest}, but version {version.number} is "
            f"{version.digest}; evaluate those bytes."
        )


def _suite(session: Session, report: Report) -> SuiteRow:
    row = suite_versioned(session, report.suite, report.suite_version)
    if row is None:
        name = f"{report.suite}@{report.suite_version}"
        raise UnknownReferenceError(f"There is no suite {name}; an admin must register it.")
    return row


def _require_valid(suite: SuiteRow, report: Report, now: datetime) -> None:
    faults = list(result_faults(suite_of(suite), report.results))
    if report.finished_at < report.started_at:
        faults.append(Fault("ends-before-start", "finished_at lies before started_at."))
    if report.finished_at > now + _CLOCK_SKEW:
        faults.append(Fault("ends-in-future", f"finished_at lies after {now.isoformat()}."))
    if faults:
        raise InvalidEvaluationError("The evaluation is refused; see faults.", faults)


def _row(
    version: Version, suite: SuiteRow, report: Report, caller: Caller, now: datetime
) -> EvaluationRow:
    evaluation = EvaluationRow(
        version_id=version.id,
        base_model_id=None,
        suite_id=suite.id,
        digest="",
        kind=EvidenceKind.AGGREGATES,
        partial=report.partial,
        harness=dict(report.harness),
        settings=dict(report.settings),
        started_at=report.started_at,
        finished_at=report.finished_at,
        recorded_at=now,
        evaluator_id=caller.id,
        cells=[
            EvaluationCell(
                metric=result.key.metric,
                persona=result.key.persona,
                locale=result.key.locale,
                samples=result.cell.samples,
                mean=result.cell.mean,
                stderr=result.cell.stderr,
            )
            for result in report.results
        ],
    )
    evaluation.digest = _digest(evaluation, version.digest, suite.digest)
    return evaluation


def _digest(evaluation: EvaluationRow, artifact: str, suite: str) -> str:
    """Bind everything that was recorded, and the id, so that no two evaluations share it."""
    return canonical_digest(
        {
            "schema": "prefix-registry/evaluation/v1",
            "id": str(evaluation.id),
            "artifact": artifact,
            "suite": suite,
            "evaluator_id": str(evaluation.evaluator_id),
            "evidence": evaluation.kind.value,
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
