"""Score queries: scores over the versions of a prefix, and the runs behind a decision."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from app.db.evaluations import is_evaluation_visible_to
from app.db.models import (
    EvaluationCell,
    EvaluationRow,
    EvaluationVoid,
    Prefix,
    Principal,
    SuiteRow,
    Version,
)
from app.domain.evidence.evaluation import CellKey
from app.domain.identity.access import Caller


@dataclass(frozen=True, slots=True)
class Score:
    """A version's score on one metric, over the cells of its complete, valid evaluations."""

    number: int
    metric: str
    lowest: float
    mean: float
    highest: float
    samples: int


def score_history(session: Session, prefix: Prefix, *, versions: int = 50) -> Sequence[Score]:
    """Return the scores of the latest `versions` versions, by `suite/metric` and number."""
    metric = func.concat(SuiteRow.name, "/", EvaluationCell.metric)
    weighted = func.sum(EvaluationCell.mean * EvaluationCell.samples)
    statement = (
        select(
            Version.number,
            metric,
            func.min(EvaluationCell.mean),
            weighted / func.sum(EvaluationCell.samples),
            func.max(EvaluationCell.mean),
            func.sum(EvaluationCell.samples),
        )
        .join(EvaluationRow, EvaluationRow.content == Version.content)
        .join(EvaluationCell, EvaluationCell.evaluation_id == EvaluationRow.id)
        .join(SuiteRow, SuiteRow.id == EvaluationRow.suite_id)
        .outerjoin(EvaluationVoid, EvaluationVoid.evaluation_id == EvaluationRow.id)
        .where(
            Version.prefix_id == prefix.id,
            Version.number > prefix.last_number - versions,
            EvaluationRow.partial.is_(False),
            EvaluationVoid.evaluation_id.is_(None),
        )
        .group_by(Version.number, metric)
        .order_by(metric, Version.number)
    )
    return [Score(*row) for row in session.execute(statement)]


@dataclass(frozen=True, slots=True)
class Run:
    """An evaluation with the means of its cells, and its evaluator's name if it is visible."""

    id: UUID
    evaluator: str | None
    suite: str
    finished_at: datetime
    cells: dict[CellKey, float]


def runs(session: Session, caller: Caller, evaluation_ids: Collection[UUID]) -> dict[UUID, Run]:
    """Return evaluations by id, each with the means of its cells, in one query.

    The evaluator is None if the evaluation was recorded where the caller does not see everything.
    """
    evaluator = case((is_evaluation_visible_to(caller), Principal.name))
    statement = (
        select(
            EvaluationRow.id,
            evaluator,
            SuiteRow.name,
            EvaluationRow.finished_at,
            EvaluationCell.metric,
            EvaluationCell.persona,
            EvaluationCell.locale,
            EvaluationCell.mean,
        )
        .join(Principal, Principal.id == EvaluationRow.evaluator_id)
        .join(SuiteRow, SuiteRow.id == EvaluationRow.suite_id)
        .join(EvaluationCell, EvaluationCell.evaluation_id == EvaluationRow.id)
        .where(EvaluationRow.id.in_(evaluation_ids))
    )
    found: dict[UUID, Run] = {}
    for id_, name, suite, finished_at, metric, persona, locale, mean in session.execute(statement):
        run = found.setdefault(id_, Run(id_, name, suite, finished_at, {}))
        run.cells[CellKey(metric, persona, locale)] = mean
    return found
