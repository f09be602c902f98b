"""Recording evaluations of versions and control runs of base models, and voiding them."""

from uuid import UUID

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from app.db.base_models import base_model_by_digest
from app.db.clock import time_in
from app.db.evaluations import (
    evaluation_by_id,
    evaluation_visible_to,
    is_file_of_others,
    manifest_of,
    suite_of,
)
from app.db.models import EvaluationFile, EvaluationRow, EvaluationVoid, Version
from app.db.session import expect
from app.db.versions import first_pushed_at
from app.domain.artifacts.quotas import QuotaLimits, Stored
from app.domain.audit.chain import REGISTRY, Facts, subject_of
from app.domain.errors import AlreadyVoidError, EvidenceReusedError, SeparationOfDutiesError
from app.domain.evidence.measured import Subject
from app.domain.evidence.reports import Claim
from app.domain.identity.access import EVERYWHERE, Caller, Role, not_found, role_in, role_on
from app.domain.naming import Json, PrefixName
from app.services.artifacts.quotas import charge, require_room
from app.services.artifacts.spooled_files import require_pinned, store_pinned
from app.services.evidence.submissions import (
    Checked,
    Circumstances,
    Submission,
    check,
    require_same_artifact,
    rows_of,
    suite_for,
)
from app.services.governance.gate import reevaluate_pending
from app.services.identity.visibility import lock_existing_prefix, visible_version
from app.services.transactions import Transaction, Transactions
from app.storage.blobs import Blobs


def record(
    transactions: Transactions,
    blobs: Blobs,
    *,
    prefix: PrefixName,
    number: int,
    submission: Submission,
    quota: QuotaLimits,
) -> EvaluationRow:
    """Record an evaluation of a version, and re-evaluate the prefix's pending promotions.

    Its files count towards the quota of the namespace; without files it always fits.

    Raises:
        NotFoundError: The version does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not an evaluator of this prefix.
        EvidenceForAnotherArtifactError: The report is of a different artifact.
        UnknownReferenceError: The suite version is not registered.
        InvalidEvaluationError: The report contradicts its suite or its samples.
        EvidenceReusedError: The samples are those of another artifact.
        QuotaExceededError: The files would pass the quota of the namespace.
    """
    needs, subject = role_on(Role.EVALUATOR, prefix), subject_of(prefix)
    needs(transactions.caller)
    claim = submission.claim
    with transactions.read() as session:
        now = time_in(session)
        version = visible_version(session, transactions.caller, prefix, number)
        require_same_artifact(claim, version.digest, f"version {number}")
        suite = suite_for(session, claim)
        pushed_at = first_pushed_at(session, version.content)
        evaluated = Subject(version.base_model.name, prefix)
        facts = Circumstances(suite, manifest_of(session, suite), now, evaluated, pushed_at)
    with submission.read(suite_of(suite)) as submitted:
        checked = check(submitted, facts)
        added = Stored(sum(content.size_bytes for content in checked.contents))
        require_room(transactions, prefix.namespace, added, quota)
        store_pinned(transactions, blobs, checked.contents)
    with transactions.begin("evaluation.record", needs, subject=subject) as transaction:
        session = transaction.session
        require_pinned(session, checked.contents)
        row = lock_existing_prefix(session, prefix)
        _require_distinct(session, checked, EvaluationRow.content == version.content)
        evaluation = _insert(transaction, checked, version.digest, version=version)
        entry = _facts(evaluation, claim) | {"version": number, "version_id": str(version.id)}
        transaction.record("evaluation.record", entry)
        reevaluate_pending(session, row, now=transaction.now)
        charge(session, prefix.namespace, added, quota)
        return expect(evaluation_by_id(session, evaluation.id))


def record_control_run(
    transactions: Transactions,
    blobs: Blobs,
    *,
    base_model: str,
    submission: Submission,
) -> EvaluationRow:
    """Record a control run: an evaluation of a bare base model, with which versions are compared.

    Pending promotions take it into account when they are next reviewed.

    Raises:
        NotFoundError: The base model is not registered.
        ForbiddenError: The caller is not an evaluator of the whole registry, which the run affects.
        EvidenceForAnotherArtifactError: The report is of a different base model.
        UnknownReferenceError: The suite version is not registered.
        InvalidEvaluationError: The report contradicts its suite or its samples.
        EvidenceReusedError: The samples are those of another artifact.
    """
    needs = role_in(Role.EVALUATOR, EVERYWHERE)
    needs(transactions.caller)
    claim = submission.claim
    with transactions.read() as session:
        now = time_in(session)
        base = base_model_by_digest(session, base_model)
        if base is None:
            raise not_found("base model", base_model)
        require_same_artifact(claim, base.digest, f"the base model {base.name}")
        suite = suite_for(session, claim)
        subject = Subject(base.name)
        facts = Circumstances(suite, manifest_of(session, suite), now, subject)
    with submission.read(suite_of(suite)) as submitted:
        checked = check(submitted, facts)
        store_pinned(transactions, blobs, checked.contents)
    # Without a subject: inserting many cells under the lock of the registry's chain would keep
    # everyone from signing in.
    with transactions.begin("evaluation.record", needs) as transaction:
        session = transaction.session
        require_pinned(session, checked.contents)
        _require_distinct(session, checked, EvaluationRow.base_model_id == base.id)
        evaluation = _insert(transaction, checked, base.digest, base_model_id=base.id)
        entry = _facts(evaluation, claim) | {"base_model": base.digest}
        transaction.record("evaluation.record", entry, subject=REGISTRY)
        return expect(evaluation_by_id(session, evaluation.id))


def _require_distinct(session: Session, checked: Checked, own: ColumnElement[bool]) -> None:
    """Check that no evaluation of another artifact has the same files on a version of the suite."""
    if is_file_of_others(session, checked.suite, checked.distinct, own):
        raise EvidenceReusedError(
            "The samples are, byte for byte, those of an evaluation of another artifact. Send the "
            "samples of this artifact's own run; response_sha256 in each row tells equal scores of "
            "different answers apart."
        )


def _insert(
    transaction: Transaction,
    checked: Checked,
    artifact: str,
    *,
    version: Version | None = None,
    base_model_id: UUID | None = None,
) -> EvaluationRow:
    evaluation, scores = rows_of(
        checked,
        artifact=artifact,
        version=version,
        base_model_id=base_model_id,
        caller=transaction.caller,
        now=transaction.now,
    )
    transaction.session.add(evaluation)
    transaction.session.flush()
    transaction.session.add_all(scores)
    return evaluation


def _facts(evaluation: EvaluationRow, claim: Claim) -> dict[str, Json]:
    return {
        "evaluation_id": str(evaluation.id),
        "digest": evaluation.digest,
        "suite": claim.suite_name,
        "evidence": evaluation.kind.value,
        "level": int(evaluation.evidence_level),
    }


def void(transactions: Transactions, *, evaluation_id: UUID, reason: str) -> EvaluationRow:
    """Void an evaluation: the gate no longer counts it, but it stays readable.

    Raises:
        NotFoundError: The evaluation does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not an approver of the prefix or, for a control run, of the
            whole registry.
        SeparationOfDutiesError: The caller recorded the evaluation.
        AlreadyVoidError: The evaluation is already void.
    """
    with transactions.read() as session:
        known = evaluation_visible_to(session, transactions.caller, evaluation_id)
    if known is None:
        raise not_found("evaluation", str(evaluation_id))
    if known.version is None:
        needs = role_in(Role.APPROVER, EVERYWHERE)
        with transactions.begin("evaluation.void", needs, subject=REGISTRY) as transaction:
            return _void(transaction, evaluation_id, reason)
    prefix = known.version.prefix.full_name
    needs, subject = role_on(Role.APPROVER, prefix), subject_of(prefix)
    with transactions.begin("evaluation.void", needs, subject=subject) as transaction:
        row = lock_existing_prefix(transaction.session, prefix)
        voided = _void(transaction, evaluation_id, reason)
        reevaluate_pending(transaction.session, row, now=transaction.now)
        return voided


def visible_file(
    session: Session, *, evaluation_id: UUID, name: str, caller: Caller
) -> tuple[EvaluationFile, Version | None]:
    """Return a file of an evaluation that is visible to the caller, and the evaluated version.

    Raises:
        NotFoundError: The evaluation or the file does not exist, or is not visible to the caller.
    """
    evaluation = evaluation_visible_to(session, caller, evaluation_id)
    if evaluation is not None:
        for file in evaluation.files:
            if file.name == name:
                return file, evaluation.version
    raise not_found("file of that evaluation", name[:80])


def _void(transaction: Transaction, evaluation_id: UUID, reason: str) -> EvaluationRow:
    session, caller = transaction.session, transaction.caller
    evaluation = expect(evaluation_by_id(session, evaluation_id))
    _require_voidable(evaluation, caller)
    session.add(EvaluationVoid(evaluation_id, reason, transaction.now, caller.id))
    facts: Facts = {
        "evaluation_id": str(evaluation_id),
        "digest": evaluation.digest,
        "reason": reason,
    }
    transaction.record("evaluation.void", facts)
    return expect(evaluation_by_id(session, evaluation_id))


def _require_voidable(evaluation: EvaluationRow, caller: Caller) -> None:
    if evaluation.voided is not None:
        by = evaluation.voided.voided_by.name
        raise AlreadyVoidError(f"{by} has already voided the evaluation {evaluation.id}.")
    if evaluation.evaluator_id == caller.id:
        message = f"{caller.name} recorded this evaluation; another approver must void it."
        raise SeparationOfDutiesError(message)
