"""The gate's decision as it is shown, and asking for one without acting on it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from app.api.fields import Label, Number, Out
from app.deps import Caller, Now, PrefixPath, SessionsDep
from app.domain.errors import (
    ForbiddenError,
    GateNotConfiguredError,
    NotFoundError,
    VersionRevokedError,
)
from app.domain.findings import Demand, Outcome
from app.domain.gate import Result, Subject
from app.problems import refuses
from app.services import gates

router = APIRouter(prefix="/prefixes/{namespace}/{name}/versions", tags=["promotions"])


class PolicyRefOut(Out):
    name: str
    version: int
    digest: str


class VerifierOut(Out):
    id: str
    version: str = Field(description="Changes when the same input could give another answer.")


class VersionRefOut(Out):
    number: int
    digest: str


class EvaluationRefOut(Out):
    id: UUID
    digest: str
    of: Subject


class CellRefOut(Out):
    persona: str
    locale: str


class FindingOut(Out):
    """What one demand found: `bound` is the confidence bound held against `demanded`."""

    rule: str
    version: int
    demand: Demand | None
    cell: CellRefOut | None
    outcome: Outcome
    observed: float | None
    bound: float | None
    demanded: float | None
    margin: float | None
    samples: int | None
    evaluation: UUID | None
    message: str


class DecisionOut(Out):
    result: Result
    evaluated_at: datetime
    policy: PolicyRefOut
    candidates: list[VersionRefOut]
    incumbent: VersionRefOut | None
    evaluations: list[EvaluationRefOut]
    findings: list[FindingOut]
    verifier: VerifierOut


@router.get(
    "/{number}/gate",
    responses=refuses(ForbiddenError, NotFoundError, GateNotConfiguredError, VersionRevokedError),
)
def gate(
    prefix: PrefixPath,
    number: Number,
    channel: Annotated[Label, Query()],
    sessions: SessionsDep,
    caller: Caller,
    now: Now,
) -> DecisionOut:
    """Say what would happen if the version were to take all of the channel's traffic."""
    decision = gates.dry_run(
        sessions, prefix=prefix, number=number, channel_name=channel, caller=caller, now=now
    )
    return DecisionOut.model_validate(decision)
