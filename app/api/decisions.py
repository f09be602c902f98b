"""A promotion's decision as evidence: attested in the SLSA form, and made again."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.api.fields import Out
from app.api.gates import DecisionOut
from app.db.promotions import DECISION
from app.deps import Caller, SessionsDep
from app.domain.attestation import MEDIA_TYPE, statement
from app.domain.errors import NotFoundError
from app.problems import refuses
from app.services import replay
from app.services.sight import seen_promotion

router = APIRouter(prefix="/promotions", tags=["promotions"])


class ReplayOut(Out):
    promotion: UUID
    agrees: bool
    differences: list[str]
    stored: DecisionOut
    recomputed: DecisionOut | None


class StatementResponse(JSONResponse):
    media_type = MEDIA_TYPE


@router.get(
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
        row = seen_promotion(session, caller, promotion_id)
    decision = DECISION.validate_python(row.decision)
    findings: Any = row.decision["findings"]
    prefix, channel = row.channel.prefix.full_name, row.channel.name
    return StatementResponse(statement(decision, findings, prefix=prefix, channel=channel))


@router.get("/{promotion_id}/replay", responses=refuses(NotFoundError))
def replay_decision(promotion_id: UUID, sessions: SessionsDep, caller: Caller) -> ReplayOut:
    """Decide again from what is stored, and say where the answer differs."""
    found = replay.replay(sessions, promotion_id=promotion_id, caller=caller)
    return ReplayOut(
        promotion=found.promotion.id,
        agrees=found.agrees,
        differences=list(found.differences),
        stored=DecisionOut.model_validate(found.stored),
        recomputed=None if found.again is None else DecisionOut.model_validate(found.again),
    )
