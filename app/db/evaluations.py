"""Suite and evaluation queries, and the conversion of their rows to the gate's values."""

from array import array
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Select, Text, Uuid, func, literal, select, true
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload, selectinload

from app.db.models import (
    EvaluationFile,
    EvaluationRow,
    EvaluationScores,
    EvaluationVoid,
    Prefix,
    SuiteManifest,
    SuiteManifestCell,
    SuiteRow,
    Version,
)
from app.db.paging import Page, PageRequest, page_of
from app.domain.evidence.evaluation import Cell, CellKey, Evaluation, Scores
from app.domain.evidence.manifests import Manifest, ManifestCell
from app.domain.evidence.suites import Suite
from app.domain.identity.access import EVERYWHERE, Caller

SUITE: Final = TypeAdapter(Suite)

_Id = TypeVar("_Id", str, UUID)

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


def manifest_file(session: Session, suite: SuiteRow) -> SuiteManifest | None:
    """Return the stored manifest of a suite version, None if it is open."""
    return session.get(SuiteManifest, suite.id)


def manifest_of(session: Session, suite: SuiteRow) -> Manifest | None:
    """Return the samples of a suite version, None if it is open."""
    if not suite.document.get("sealed"):
        return None
    rows = session.scalars(_cells_of(suite, SuiteManifestCell))
    return Manifest(
        {
            (row.persona, row.locale): ManifestCell(
                array("Q", row.keys_packed), array("Q", row.clusters_packed)
            )
            for row in rows
        }
    )


def manifest_sizes(session: Session, suite: SuiteRow) -> list[tuple[str, str, int]]:
    """Return the number of samples of each persona and locale of a sealed suite version."""
    cell = SuiteManifestCell
    found = session.execute(_cells_of(suite, cell.persona, cell.locale, cell.samples))
    return [(persona, locale, samples) for persona, locale, samples in found]


def _cells_of(suite: SuiteRow, *columns: Any) -> Select[Any]:  # noqa: ANN401 - as select has it
    cells = select(*columns).where(SuiteManifestCell.suite_id == suite.id)
    return cells.order_by(SuiteManifestCell.persona, SuiteManifestCell.locale)


def latest_suites(session: Session, names: Collection[str], *, until: datetime) -> dict[str, str]:
    """Return the latest version of each suite that was registered by a moment, by name."""
    statement = (
        select(SuiteRow.name, SuiteRow.version)
        .ext(distinct_on(SuiteRow.name))
        .where(SuiteRow.name.in_(names), SuiteRow.created_at <= until)
        .order_by(SuiteRow.name, SuiteRow.created_at.desc(), SuiteRow.id)
    )
    return {row.name: row.version for row in session.execute(statement)}


def measured_contents(
    session: Session, prefix_id: UUID, suites: Collection[str], *, until: datetime
) -> dict[str, list[str]]:
    """Return the contents of a prefix that each suite version has measured by a moment.

    Suite versions are named as `name@version`; contents are in the order of their first
    evaluations, including void ones.
    """
    suite = func.concat(SuiteRow.name, "@", SuiteRow.version)
    of_prefix = select(Version.content).where(
        Version.prefix_id == prefix_id, Version.created_at <= until
    )
    first = func.min(EvaluationRow.recorded_at)
    statement = (
        select(suite, EvaluationRow.content)
        .join(EvaluationRow.suite)
        .where(
            EvaluationRow.content.in_(of_prefix),
            EvaluationRow.recorded_at <= until,
            suite.in_(suites),
        )
        .group_by(suite, EvaluationRow.content)
        .order_by(first, EvaluationRow.content)
    )
    found: dict[str, list[str]] = defaultdict(list)
    for name, content in session.execute(statement):
        found[name].append(str(content))
    return found


def void_evaluations(
    session: Session, contents: Collection[str], *, until: datetime, limit: int = 50
) -> Sequence[EvaluationRow]:
    """Return the evaluations of contents that were voided by a moment, latest first."""
    statement = (
        select(EvaluationRow)
        .join(EvaluationVoid)
        .where(EvaluationRow.content.in_(contents), EvaluationVoid.voided_at <= until)
        .order_by(EvaluationVoid.voided_at.desc(), EvaluationRow.id)
        .limit(limit)
        .options(
            joinedload(EvaluationRow.suite),
            joinedload(EvaluationRow.voided).joinedload(EvaluationVoid.voided_by),
            joinedload(EvaluationRow.version).joinedload(Version.prefix),
            selectinload(EvaluationRow.cells),
        )
    )
    return session.scalars(statement).all()


def evaluations_page(
    session: Session,
    caller: Caller,
    about: ColumnElement[bool],
    request: PageRequest,
) -> Page[EvaluationRow]:
    """Return the evaluations of a content or base model, including void ones, latest first.

    `about` is the condition on the content or the base model. Evaluations of a content that were
    recorded in a namespace that is not fully visible to the caller are left out.
    """
    statement = select(EvaluationRow).where(about, is_evaluation_visible_to(caller))
    key = [EvaluationRow.recorded_at, EvaluationRow.id]
    return page_of(session, statement.options(*_ALL_RELATIONS), key, request, descending=True)


def recent_evaluations(
    session: Session, version: Version, caller: Caller, *, limit: int = 20
) -> Sequence[EvaluationRow]:
    """Return the latest evaluations of a version's content, including void ones."""
    about = EvaluationRow.content == version.content
    return evaluations_page(session, caller, about, PageRequest(limit)).items


def evaluation_by_id(session: Session, evaluation_id: UUID) -> EvaluationRow | None:
    return _one(session, EvaluationRow.id == evaluation_id)


def evaluation_visible_to(
    session: Session, caller: Caller, evaluation_id: UUID
) -> EvaluationRow | None:
    """Return an evaluation that is visible to the caller.

    Hidden and missing evaluations take the same queries, so that timing reveals nothing.
    """
    return _one(session, EvaluationRow.id == evaluation_id, is_evaluation_visible_to(caller))


def is_evaluation_visible_to(caller: Caller) -> ColumnElement[bool]:
    """Return the condition that an evaluation is visible; control runs are to every member."""
    namespaces = caller.fully_visible_namespaces()
    if EVERYWHERE in namespaces:
        return true()
    visible = EvaluationRow.version.has(Version.prefix.has(Prefix.namespace.in_(namespaces)))
    return visible | EvaluationRow.version_id.is_(None) if namespaces else visible


def _one(session: Session, *where: ColumnElement[bool]) -> EvaluationRow | None:
    loaded = (*_ALL_RELATIONS, joinedload(EvaluationRow.version).joinedload(Version.prefix))
    statement = select(EvaluationRow).where(*where)
    statement = statement.options(*loaded).execution_options(populate_existing=True)
    return session.scalars(statement).unique().one_or_none()


def evidence_for(
    session: Session,
    subject: InstrumentedAttribute[_Id | None],
    subject_ids: Collection[_Id],
    metrics: Collection[str],
) -> dict[_Id, list[Evaluation]]:
    """Return the evaluations of each content or base model that are not void.

    `subject` is the column of the content or of the base model's id. Samples are read only for
    `metrics`.
    """
    not_void = _recorded().outerjoin(EvaluationVoid).where(EvaluationVoid.evaluation_id.is_(None))
    rows = session.scalars(not_void.where(subject.in_(subject_ids))).all()
    return by_subject(session, rows, subject, metrics)


def by_subject(
    session: Session,
    rows: Sequence[EvaluationRow],
    subject: InstrumentedAttribute[_Id | None],
    metrics: Collection[str],
) -> dict[_Id, list[Evaluation]]:
    """Return evaluations by the value of the column `subject`, with the samples of `metrics`."""
    scores = scores_of(session, [row.id for row in rows], metrics)
    found: dict[_Id, list[Evaluation]] = defaultdict(list)
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
            array("Q", row.keys_packed),
            array("d", row.values_packed),
            array("Q", row.clusters_packed),
        )
    return found


def is_file_of_others(
    session: Session, suite: SuiteRow, digests: Collection[str], own: ColumnElement[bool]
) -> bool:
    """Return whether an evaluation that is not `own` has one of these files.

    Only evaluations by a version of the same suite count.
    """
    statement = (
        select(EvaluationFile.evaluation_id)
        .join(EvaluationRow, EvaluationRow.id == EvaluationFile.evaluation_id)
        .join(EvaluationRow.suite)
        .where(EvaluationFile.sha256.in_(digests), SuiteRow.name == suite.name)
        .where(func.coalesce(own, False).is_(False))
        .limit(1)
    )
    return session.scalar(statement) is not None


def evaluators_and_authors(
    session: Session, evaluation_ids: Collection[UUID], contents: Collection[str]
) -> tuple[dict[UUID, UUID], dict[str, frozenset[UUID]]]:
    """Return the evaluator of each evaluation, and the authors of each content, in one query."""
    evaluators = select(
        EvaluationRow.id, literal(None, Text).label("content"), EvaluationRow.evaluator_id
    ).where(EvaluationRow.id.in_(evaluation_ids))
    authors = select(literal(None, Uuid), Version.content, Version.created_by_id).where(
        Version.content.in_(contents)
    )
    by_evaluation: dict[UUID, UUID] = {}
    by_content: dict[str, set[UUID]] = defaultdict(set)
    rows: Sequence[Any] = session.execute(evaluators.union(authors)).all()
    for evaluation_id, content, principal_id in rows:
        if evaluation_id is not None:
            by_evaluation[evaluation_id] = principal_id
        else:
            by_content[content].add(principal_id)
    return by_evaluation, {each: frozenset(ids) for each, ids in by_content.items()}


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
        scope=row.scope,
        level=row.evidence_level,
        finished_at=row.finished_at,
        recorded_at=row.recorded_at,
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
