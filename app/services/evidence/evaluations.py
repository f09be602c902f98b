"""Recording evaluations of versions and control runs of base models, and voiding them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.db import audit
from app.db.base_models import base_model_by_digest
from app.db.evaluations import evaluation_by_id, evaluation_visible_to, suite_of
from app.db.models import EvaluationFile, EvaluationRow, EvaluationVoid
from app.db.session import Sessions, expect
from app.domain.audit.chain import REGISTRY, Facts, audit_event, subject_of
from app.domain.errors import AlreadyVoidError, SeparationOfDutiesError
from app.domain.evidence.reports import Claim
from app.domain.identity.access import EVERYWHERE, Caller, Role, not_found
from app.domain.naming import Json, PrefixName
from app.services.artifacts.spooled_files import require_pinned, store_pinned
from app.services.evidence.submissions import (
    Checked,
    Submission,
    check,
    require_same_artifact,
    rows_of,
    suite_for,
)
from app.services.governance.gate import reevaluate_pending
from app.services.identity.visibility import lock_prefix_as, visible_version
from app.storage.blobs import Blobs


def record(
    sessions: Sessions,
    blobs: Blobs,
    *,
    prefix: PrefixName,
    number: int,
    submission: Submission,
    caller: Caller,
    now: datetime,
) -> EvaluationRow:
    """Record an evaluation of a version, and re-evaluate the prefix's pending promotions.

    Raises:
        NotFoundError: The version does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not an evaluator of this prefix.
        EvidenceForAnotherArtifactError: The report is of a different artifact.
        UnknownReferenceError: The suite version is not registered.
        InvalidEvaluationError: The report contradicts its suite or its samples.
    """
    caller.require(Role.EVALUATOR, prefix)
    claim = submission.claim
    with sessions() as session:
        version = visible_version(session, caller, prefix, number)
        require_same_artifact(claim, version.digest, f"version {number}")
        suite = suite_for(session, claim)
    with submission.read(suite_of(suite)) as submitted:
        checked = check(submitted, suite, now)
        store_pinned(sessions, blobs, checked.contents, now=now)
    with sessions.begin() as session:
        require_pinned(session, checked.contents, now=now)
        row = lock_prefix_as(Role.EVALUATOR, session, caller, prefix)
        evaluation = _insert(session, checked, version.digest, caller, now, version_id=version.id)
        facts = _facts(evaluation, claim) | {"version": number, "version_id": str(version.id)}
        event = audit_event(subject_of(prefix), "evaluation.record", facts, caller=caller, now=now)
        audit.append(session, event)
        reevaluate_pending(session, row, now=now)
        return expect(evaluation_by_id(session, evaluation.id))


def record_control_run(
    sessions: Sessions,
    blobs: Blobs,
    *,
    base_model: str,
    submission: Submission,
    caller: Caller,
    now: datetime,
) -> EvaluationRow:
    """Record a control run: an evaluation of a bare base model, with which versions are compared.

    Pending promotions take it into account when they are next reviewed.

    Raises:
        NotFoundError: The base model is not registered.
        ForbiddenError: The caller is not an evaluator of the whole registry, which the run affects.
        EvidenceForAnotherArtifactError: The report is of a different base model.
        UnknownReferenceError: The suite version is not registered.
        InvalidEvaluationError: The report contradicts its suite or its samples.
    """
    caller.require_in(Role.EVALUATOR, EVERYWHERE)
    claim = submission.claim
    with sessions() as session:
        base = base_model_by_digest(session, base_model)
        if base is None:
            raise not_found("base model", base_model)
        require_same_artifact(claim, base.digest, f"the base model {base.name}")
        suite = suite_for(session, claim)
    with submission.read(suite_of(suite)) as submitted:
        checked = check(submitted, suite, now)
        store_pinned(sessions, blobs, checked.contents, now=now)
    with sessions.begin() as session:
        require_pinned(session, checked.contents, now=now)
        evaluation = _insert(session, checked, base.digest, caller, now, base_model_id=base.id)
        facts = _facts(evaluation, claim) | {"base_model": base.digest}
        audit.append(
            session, audit_event(REGISTRY, "evaluation.record", facts, caller=caller, now=now)
        )
        return expect(evaluation_by_id(session, evaluation.id))


def _insert(
    session: Session,
    checked: Checked,
    artifact: str,
    caller: Caller,
    now: datetime,
    *,
    version_id: UUID | None = None,
    base_model_id: UUID | None = None,
) -> EvaluationRow:
    evaluation, scores = rows_of(
        checked,
        artifact=artifact,
        version_id=version_id,
        base_model_id=base_model_id,
        caller=caller,
        now=now,
    )
    session.add(evaluation)
    session.flush()
    session.add_all(scores)
    return evaluation


def _facts(evaluation: EvaluationRow, claim: Claim) -> dict[str, Json]:
    return {
        "evaluation_id": str(evaluation.id),
        "digest": evaluation.digest,
        "suite": claim.suite_name,
        "evidence": evaluation.kind.value,
    }


def void(
    sessions: Sessions, *, evaluation_id: UUID, reason: str, caller: Caller, now: datetime
) -> EvaluationRow:
    """Void an evaluation: the gate no longer counts it, but it stays readable.

    Raises:
        NotFoundError: The evaluation does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not an approver of the prefix or, for a control run, of the
            whole registry.
        SeparationOfDutiesError: The caller recorded the evaluation.
        AlreadyVoidError: The evaluation is already void.
    """
    with sessions() as session:
        known = evaluation_visible_to(session, caller, evaluation_id)
    if known is None:
        raise not_found("evaluation", str(evaluation_id))
    if known.version is None:
        caller.require_in(Role.APPROVER, EVERYWHERE)
        with sessions.begin() as session:
            audit.lock_chain(session, REGISTRY)
            return _void(session, evaluation_id, reason, REGISTRY, caller, now)
    prefix = known.version.prefix.full_name
    with sessions.begin() as session:
        row = lock_prefix_as(Role.APPROVER, session, caller, prefix)
        voided = _void(session, evaluation_id, reason, subject_of(prefix), caller, now)
        reevaluate_pending(session, row, now=now)
        return voided


def visible_file(
    session: Session, *, evaluation_id: UUID, name: str, caller: Caller
) -> EvaluationFile:
    """Return a file of an evaluation that is visible to the caller.

    Raises:
        NotFoundError: The evaluation or the file does not exist, or is not visible to the caller.
    """
    evaluation = evaluation_visible_to(session, caller, evaluation_id)
    for file in [] if evaluation is None else evaluation.files:
        if file.name == name:
            return file
    raise not_found("file of that evaluation", name[:80])


def _void(
    session: Session,
    evaluation_id: UUID,
    reason: str,
    subject: str,
    caller: Caller,
    now: datetime,
) -> EvaluationRow:
    evaluation = expect(evaluation_by_id(session, evaluation_id))
    _require_voidable(evaluation, caller)
    session.add(EvaluationVoid(evaluation_id, reason, now, caller.id))
    facts: Facts = {
        "evaluation_id": str(evaluation_id),
        "digest": evaluation.digest,
        "reason": reason,
    }
    audit.append(session, audit_event(subject, "evaluation.void", facts, caller=caller, now=now))
    return expect(evaluation_by_id(session, evaluation_id))


def _require_voidable(evaluation: EvaluationRow, caller: Caller) -> None:
    if evaluation.voided is not None:
        by = evaluation.voided.voided_by.name
        raise AlreadyVoidError(f"{by} has already voided the evaluation {evaluation.id}.")
    if evaluation.evaluator_id == caller.id:
        message = f"{caller.name} recorded this evaluation; another approver must void it."
        raise SeparationOfDutiesError(message)
