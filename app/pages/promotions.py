"""Promotion pages: the list, and one request with its gate evaluation and approvals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.db.models import Promotion, Version
from app.db.paging import PageRequest
from app.db.promotions import DECISION, promotion_by_id, promotions_page
from app.db.score_history import Run, runs
from app.db.session import Sessions
from app.db.versions import versions_beside
from app.domain.errors import RegistryError
from app.domain.governance.gate import Decision, EvidenceRole
from app.domain.governance.lifecycle import PromotionState
from app.domain.identity.access import Caller, Role, not_found
from app.http.deps import Now, SessionsDep
from app.http.problems import STATUS
from app.pages.inputs import Cursor
from app.pages.login.session_cookies import Visitor
from app.pages.presentation.differences import Difference, differences
from app.pages.presentation.heatmap import artifact_findings, comparisons, notices, rule_views
from app.pages.rendering import page
from app.pages.review_permission import ReviewPermission, review_permission
from app.services.governance.approval_status import approval_status_of
from app.services.identity.web_sessions import PageVisit

router = APIRouter()


@dataclass(frozen=True, slots=True)
class SideBySide:
    """A candidate next to the incumbent, if another version is live."""

    candidate: Version
    incumbent: Version | None
    card: list[Difference]
    lineage: list[Difference]


@dataclass(frozen=True, slots=True)
class _PromotionView:
    """The data that the page shows of one promotion."""

    permission: ReviewPermission
    decision: Decision
    beside: list[SideBySide]
    runs: Mapping[UUID, Run]


@router.get("/promotions")
def every_promotion(
    request: Request,
    visit: Visitor,
    sessions: SessionsDep,
    now: Now,
    state: str = "",
    cursor: Cursor = None,
) -> Response:
    """List promotions, optionally in one state."""
    wanted = PromotionState(state) if state in set(PromotionState) else None
    with sessions() as session:
        found = promotions_page(session, visit.caller, wanted, PageRequest(50, cursor), now=now)
        return page(
            request,
            "promotions.html",
            visit=visit,
            now=now,
            promotions=found.items,
            following=found.next,
            state=wanted,
            states=list(PromotionState),
        )


@router.get("/promotions/{promotion_id}")
def promotion(
    request: Request, promotion_id: UUID, visit: Visitor, sessions: SessionsDep, now: Now
) -> Response:
    return promotion_page(request, visit, sessions, promotion_id, now)


def promotion_page(
    request: Request,
    visit: PageVisit,
    sessions: Sessions,
    promotion_id: UUID,
    now: datetime,
    *,
    refusal: RegistryError | None = None,
) -> Response:
    """Render a promotion; with `refusal`, also the refusal of the latest action, and its status."""
    view = _promotion_view(sessions, visit.caller, promotion_id, now)
    row, decision = view.permission.row, view.decision
    rules = rule_views(decision.findings)
    compared = {
        demand: [(rule, comparisons(rule, demand, decision, view.runs)) for rule in rules]
        for demand in ("incumbent", "base")
    }
    return page(
        request,
        "promotion.html",
        status=200 if refusal is None else STATUS[type(refusal)],
        visit=visit,
        now=now,
        permission=view.permission,
        promotion=row,
        prefix=row.channel.prefix,
        decision=decision,
        rules=rules,
        artifact_findings=artifact_findings(decision.findings),
        notices=notices(decision.findings),
        compared=compared,
        beside=view.beside,
        contributors=_contributors(row, view),
        is_admin=Role.ADMIN in visit.caller.roles(row.channel.prefix.namespace),
        is_requester=row.requested_by_id == visit.caller.id,
        refusal=refusal,
        done=request.query_params.get("done"),
    )


def _promotion_view(
    sessions: Sessions, caller: Caller, promotion_id: UUID, now: datetime
) -> _PromotionView:
    with sessions() as session:
        row = promotion_by_id(session, promotion_id)
        if row is None or not caller.can_see_unreleased(row.channel.prefix.namespace):
            raise not_found("promotion", str(promotion_id))
        state = approval_status_of(session, [row], now=now)[row.id]
        decision = DECISION.validate_python(row.decision)
        numbers = {candidate.number for candidate in decision.candidates}
        replaced = set() if decision.incumbent is None else {decision.incumbent.number}
        found = versions_beside(session, row.channel.prefix, numbers | replaced)
        read = runs(session, caller, [ref.id for ref in decision.evaluations])
    incumbent = next((found[number] for number in replaced), None)
    beside = [_side_by_side(found[number], incumbent) for number in sorted(numbers)]
    return _PromotionView(review_permission(row, state, caller, now), decision, beside, read)


def _side_by_side(candidate: Version, incumbent: Version | None) -> SideBySide:
    other = None if incumbent is None or incumbent.id == candidate.id else incumbent
    return SideBySide(
        candidate,
        other,
        differences(None if other is None else other.card, candidate.card),
        differences(None if other is None else other.lineage, candidate.lineage),
    )


def _contributors(row: Promotion, view: _PromotionView) -> Sequence[tuple[str, list[str]]]:
    """Return the contributors by role; a policy may exclude them from reviewing."""
    read = [ref.id for ref in view.decision.evaluations if ref.of is EvidenceRole.CANDIDATE]
    names = {view.runs[id_].evaluator for id_ in read if id_ in view.runs}
    evaluators = {name or "an evaluator of another namespace" for name in names}
    return [
        ("Requester", [row.requested_by.name]),
        ("Author", sorted({each.candidate.created_by.name for each in view.beside})),
        ("Owner", [row.channel.prefix.owner.name]),
        ("Evaluator", sorted(evaluators)),
    ]
