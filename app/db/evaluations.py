"""Suite and evaluation queries, and the conversion of their rows to the gate's values."""

from array import array
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Select, func, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload, selectinload

from app.db.models import (
    EvaluationRow,
    EvaluationScores,
    EvaluationVoid,
    Prefix,
    SuiteRow,
    Version,
)
from app.db.paging import Page, PageRequest, page_of
from app.domain.evidence.evaluation import Cell, CellKey, Evaluation, Scores
from app.domain.evidence.suites import Suite
from app.domain.identity.access import EVERYWHERE, Caller

SUITE: Final = TypeAdapter(Suite)

_ALL_RELATIONS = (
    joinedload(EvaluationRow.suite),
    joinedload(EvaluationRow.evaluator),
    joinedload(EvaluationRow.voided).joinedload(EvaluationVoid.voided_by),
    joinedload(EvaluationRow.files),
    selectinload(EvaluationRow.cells),
)


def suite_versioned(session: Session, name: str, version: str) -> SuiteRow | None:
    statement = select(SuiteRow).where(SuiteRow.name == name, SuiteRow.version == version)
    return session.scalars(statement.options(joinedload(SuiteRow.created_by))).one_or_none()


def suite_spelled_like(session: Session, name: str, version: str) -> SuiteRow | None:
    """Return the suite version with this label, or with one that differs by case only."""
    spelled_like = func.lower(SuiteRow.version) == version.lower()
    statement = select(SuiteRow).where(SuiteRow.name == name, spelled_like)
    return session.scalars(statement.options(joinedload(SuiteRow.created_by))).one_or_none()


def latest_suite(session: Session, name: str) -> SuiteRow | None:
    """Return the most recently registered version of a suite."""
    statement = (
        select(SuiteRow)
        .where(SuiteRow.name == name)
        .order_by(SuiteRow.created_at.desc(), SuiteRow.id)
        .limit(1)
    )
    return session.scalars(statement).one_or_none()


def evaluations_page(
    session: Session,
    subject: InstrumentedAttribute[UUID | None],
    subject_id: UUID,
    request: PageRequest,
) -> Page[EvaluationRow]:
    """Return the evaluations of a version or base model, including void ones, latest first.

    `subject` is the column of the version's or the base model's id.
    """
    statement = select(EvaluationRow).where(subject == subject_id)
    key = [EvaluationRow.recorded_at, EvaluationRow.id]
    return page_of(session, statement.options(*_ALL_RELATIONS), key, request, descending=True)


def recent_evaluations(
    session: Session, version: Version, *, limit: int = 20
) -> Sequence[EvaluationRow]:
    """Return the latest evaluations of a version, including void ones."""
    return evaluations_page(session, EvaluationRow.version_id, version.id, PageRequest(limit)).items


def evaluation_by_id(session: Session, evaluation_id: UUID) -> EvaluationRow | None:
    return _one(session, EvaluationRow.id == evaluation_id)


def evaluation_visible_to(
    session: Session, caller: Caller, evaluation_id: UUID
) -> EvaluationRow | None:
    """Return an evaluation that is visible to the caller.

    Hidden and missing evaluations take the same queries, so that timing reveals nothing.
    """
    namespaces = caller.fully_visible_namespaces()
    visible = EvaluationRow.version.has(Version.prefix.has(Prefix.namespace.in_(namespaces)))
    if namespaces:
        visible = visible | EvaluationRow.version_id.is_(None)
    if EVERYWHERE in namespaces:
        visible = true()
    return _one(session, EvaluationRow.id == evaluation_id, visible)


def _one(session: Session, *where: ColumnElement[bool]) -> EvaluationRow | None:
    loaded = (*_ALL_RELATIONS, joinedload(EvaluationRow.version).joinedload(Version.prefix))
    statement = select(EvaluationRow).where(*where)
    statement = statement.options(*loaded).execution_options(populate_existing=True)
    return session.scalars(statement).unique().one_or_none()


def evidence_for(
    session: Session,
    subject: InstrumentedAttribute[UUID | None],
    subject_ids: Collection[UUID],
    compared: Collection[str],
) -> dict[UUID, list[Evaluation]]:
    """Return the evaluations of each version or base model that are not void.

    `subject` is the column of the version's or the base model's id. Samples are read only for
    the metrics in `compared`, because only comparisons need them.
    """
    not_void = _recorded().outerjoin(EvaluationVoid).where(EvaluationVoid.evaluation_id.is_(None))
    rows = session.scalars(not_void.where(subject.in_(subject_ids))).all()
    return by_subject(session, rows, subject, compared)


def by_subject(
    session: Session,
    rows: Sequence[EvaluationRow],
    subject: InstrumentedAttribute[UUID | None],
    compared: Collection[str],
) -> dict[UUID, list[Evaluation]]:
    """Return evaluations by the value of the column `subject`, with the samples of `compared`."""
    scores = scores_of(session, [row.id for row in rows], compared)
    found: dict[UUID, list[Evaluation]] = defaultdict(list)
    for row in rows:
        subject_id = getattr(row, subject.key)
        found[subject_id].append(evaluation_of(row, scores.get(row.id, {})))
    return found


def evaluations_named(session: Session, ids: Collection[UUID]) -> Sequence[EvaluationRow]:
    """Return evaluations by id, including void ones, with the version or base model evaluated."""
    relations = (
        joinedload(EvaluationRow.version),
        joinedload(EvaluationRow.base_model),
        selectinload(EvaluationRow.files),
    )
    statement = _recorded().where(EvaluationRow.id.in_(ids)).options(*relations)
    return session.scalars(statement).unique().all()


def scores_of(
    session: Session, evaluation_ids: Collection[UUID], metrics: Collection[str]
) -> dict[UUID, dict[CellKey, Scores]]:
    """Return the samples of evaluations for the given metrics, by evaluation and cell."""
    found: dict[UUID, dict[CellKey, Scores]] = defaultdict(dict)
    if not metrics:
        return found
    statement = select(EvaluationScores).where(
        EvaluationScores.evaluation_id.in_(evaluation_ids), EvaluationScores.metric.in_(metrics)
    )
    for row in session.scalars(statement):
        key = CellKey(row.metric, row.persona, row.locale)
        found[row.evaluation_id][key] = Scores(
            array("Q", row.keys_packed), array("d", row.values_packed)
        )
    return found


def evaluators_of(session: Session, evaluation_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Return the id of the evaluator of each evaluation."""
    statement = select(EvaluationRow.id, EvaluationRow.evaluator_id)
    found = session.execute(statement.where(EvaluationRow.id.in_(evaluation_ids)))
    return {row.id: row.evaluator_id for row in found}


def _recorded() -> Select[EvaluationRow]:
    return (
        select(EvaluationRow)
        .order_by(EvaluationRow.recorded_at, EvaluationRow.id)
        .options(joinedload(EvaluationRow.suite), selectinload(EvaluationRow.cells))
    )


def evaluation_of(row: EvaluationRow, scores: Mapping[CellKey, Scores]) -> Evaluation:
    return Evaluation(
        id=row.id,
        digest=row.digest,
        suite=suite_of(row.suite),
        kind=row.kind,
        partial=row.partial,
        evaluator_id=row.evaluator_id,
        finished_at=row.finished_at,
        cells={
            CellKey(cell.metric, cell.persona, cell.locale): Cell(
                cell.samples, cell.mean, cell.stderr
            )
            for cell in row.cells
        },
        scores=scores,
    )


def suite_of(row: SuiteRow) -> Suite:
    return SUITE.validate_python(row.document)
