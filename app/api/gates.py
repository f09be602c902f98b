"""Gate decisions over HTTP: dry run, attestation and replay."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import Field

from app.api.fields import ChannelName, Number, Out
from app.db.promotions import DECISION
from app.domain.errors import (
    ForbiddenError,
    GateNotConfiguredError,
    NotFoundError,
    VersionRevokedError,
)
from app.domain.governance.attestation import MEDIA_TYPE, statement
from app.domain.governance.findings import Demand, Outcome
from app.domain.governance.gate import EvidenceRole, GateResult
from app.http.deps import Caller, Now, PrefixPath, SessionsDep
from app.http.problems import refuses
from app.services.audit import replay
from app.services.governance import gate
from app.services.identity.visibility import visible_promotion

router = APIRouter(prefix="/prefixes/{namespace}/{name}/versions", tags=["promotions"])


class PolicyRefOut(Out):
    name: str
    version: int
    digest: str


class VerifierOut(Out):
    id: str
    version: str = Field(description="Changes when the same input could give another result.")


class VersionRefOut(Out):
    number: int
    digest: str


class EvaluationRefOut(Out):
    id: UUID
    digest: str
    of: EvidenceRole


class CellRefOut(Out):
    persona: str
    locale: str


class FindingOut(Out):
    """The outcome of one demand. `bound` is the confidence bound compared with `demanded`.

    A finding whose outcome is `notice` is no demand, but a fact that reviewers should know.
    """

    rule: str
    version: int
    demand: Demand | None
    cell: CellRefOut | None
    outcome: Outcome
    observed: float | None
    bound: float | None
    demanded: float | None
    margin: float | None
    samples: int | None = Field(description="Independent samples, over all runs that qualify.")
    evaluation: UUID | None = Field(description="The latest run that qualifies.")
    runs: int | None = Field(description="How many runs qualify.")
    level: int | None = Field(description="The least evidence level among them.")
    looks: int | None = Field(description="How often the cell was tested.")
    look: int | None = Field(description="The test whose bound is shown: the first that passed.")
    confidence: float | None = Field(
        description="1 less the part of the rule's level that this look may spend."
    )
    message: str


class DecisionOut(Out):
    result: GateResult
    evaluated_at: datetime
    policy: PolicyRefOut
    candidates: list[VersionRefOut]
    incumbent: VersionRefOut | None = Field(
        description="The version that serves most of the channel's traffic."
    )
    incumbents: list[VersionRefOut] = Field(
        description="The versions that rules compare the candidates with."
    )
    evaluations: list[EvaluationRefOut]
    findings: list[FindingOut]
    verifier: VerifierOut


@router.get(
    "/{number}/gate",
    responses=refuses(ForbiddenError, NotFoundError, GateNotConfiguredError, VersionRevokedError),
)
def preview_gate(
    prefix: PrefixPath,
    number: Number,
    channel: Annotated[ChannelName, Query()],
    sessions: SessionsDep,
    caller: Caller,
    now: Now,
) -> DecisionOut:
    """Evaluate the gate as if the version were to take all of the channel's traffic."""
    decision = gate.dry_run(
        sessions, prefix=prefix, number=number, channel_name=channel, caller=caller, now=now
    )
    return DecisionOut.model_validate(decision)


decisions_router = APIRouter(prefix="/promotions", tags=["promotions"])


class ReplayOut(Out):
    promotion: UUID
    agrees: bool
    differences: list[str]
    stored: DecisionOut
    recomputed: DecisionOut | None


class StatementResponse(JSONResponse):
    media_type = MEDIA_TYPE


@decisions_router.get(
    "/{promotion_id}/attestation",
    response_class=StatementResponse,
    responses={
        200: {"content": {MEDIA_TYPE: {}}, "description": "An in-toto statement."},
        **refuses(NotFoundError),
    },
)
def attest_decision(promotion_id: UUID, sessions: SessionsDep, caller: Caller) -> StatementResponse:
    """Return the decision as an in-toto statement with a SLSA Verification Summary."""
    with sessions() as session:
        row = visible_promotion(session, caller, promotion_id)
    decision = DECISION.validate_python(row.decision)
    findings: Any = row.decision["findings"]
    prefix, channel = row.channel.prefix.full_name, row.channel.name
    return StatementResponse(statement(decision, findings, prefix=prefix, channel=channel))


@decisions_router.get("/{promotion_id}/replay", responses=refuses(NotFoundError))
def replay_decision(promotion_id: UUID, sessions: SessionsDep, caller: Caller) -> ReplayOut:
    """Evaluate the gate again from stored evidence and list where the decision differs."""
    found = replay.replay(sessions, promotion_id=promotion_id, caller=caller)
    return ReplayOut(
        promotion=found.promotion.id,
        agrees=found.agrees,
        differences=list(found.differences),
        stored=DecisionOut.model_validate(DECISION.validate_python(found.stored)),
        recomputed=None
        if found.again is None
        else DecisionOut.model_validate(DECISION.validate_python(found.again)),
    )
