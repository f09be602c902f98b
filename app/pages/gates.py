"""The gate page of a version and a channel: the gate evaluation, and the promotion request."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from app.db.models import Promotion
from app.db.policies import policy_of, policy_versioned
from app.db.session import Sessions, expect
from app.domain.errors import RegistryError
from app.domain.evidence.evaluation import CellKey
from app.domain.governance.allocation import ALL_TRAFFIC, Share
from app.domain.governance.gate import Decision, GateResult
from app.domain.governance.policies import Policy, compared_metrics
from app.domain.identity.access import Role
from app.domain.naming import PrefixName
from app.http.deps import Now, PrefixPath, SessionsDep
from app.http.problems import STATUS
from app.http.text_fields import Reason, Text
from app.pages.error_pages import redirect_or_refuse
from app.pages.inputs import BREAK_GLASS, LabelPath, Number, require_typed
from app.pages.login.admission import WorkRoute
from app.pages.login.session_cookies import Sender, SenderTransactions, Visitor
from app.pages.presentation import shell_commands
from app.pages.presentation.heatmap import (
    RuleView,
    artifact_findings,
    missing_keys,
    notices,
    rule_views,
)
from app.pages.rendering import origin_of, page
from app.services.governance import break_glass, gate, promotions
from app.services.identity.web_sessions import PageVisit

router = APIRouter(
    prefix="/prefixes/{namespace}/{name}/versions/{number}/gate/{channel}", route_class=WorkRoute
)


@router.get("")
def gate_page(
    request: Request,
    prefix: PrefixPath,
    number: Number,
    channel: LabelPath,
    visit: Visitor,
    sessions: SessionsDep,
    now: Now,
) -> Response:
    return _gate_page(request, visit, sessions, prefix, number, channel, now)


@router.post("")
def request_promotion(
    request: Request,
    prefix: PrefixPath,
    number: Number,
    channel: LabelPath,
    visit: Sender,
    transactions: SenderTransactions,
    sessions: SessionsDep,
    now: Now,
    reason: Annotated[Reason, Form()],
) -> Response:
    return redirect_or_refuse(
        lambda: promotions.request(
            transactions,
            prefix=prefix,
            channel_name=channel,
            wanted=(Share(number, ALL_TRAFFIC),),
            reason=reason,
        ),
        done=lambda row: f"/admin/promotions/{row.id}?done=request",
        refused=lambda refusal: _gate_page(
            request, visit, sessions, prefix, number, channel, now, refusal=refusal
        ),
    )


@router.post("/break-glass")
def request_break_glass(
    request: Request,
    prefix: PrefixPath,
    number: Number,
    channel: LabelPath,
    visit: Sender,
    transactions: SenderTransactions,
    sessions: SessionsDep,
    now: Now,
    reason: Annotated[Reason, Form()] = "-",
    confirmation: Annotated[Text, Form()] = "",
) -> Response:
    """Request a break-glass promotion; the caller must type the confirmation."""

    def act() -> Promotion:
        require_typed(BREAK_GLASS, confirmation, ".")
        return break_glass.request_with_break_glass(
            transactions,
            prefix=prefix,
            channel_name=channel,
            wanted=(Share(number, ALL_TRAFFIC),),
            reason=reason,
        )

    return redirect_or_refuse(
        act,
        done=lambda row: f"/admin/promotions/{row.id}?done=break-glass",
        refused=lambda refusal: _gate_page(
            request, visit, sessions, prefix, number, channel, now, refusal=refusal
        ),
    )


def _gate_page(
    request: Request,
    visit: PageVisit,
    sessions: Sessions,
    prefix: PrefixName,
    number: int,
    channel: str,
    now: datetime,
    *,
    refusal: RegistryError | None = None,
) -> Response:
    decision = gate.dry_run(
        sessions,
        prefix=prefix,
        number=number,
        channel_name=channel,
        caller=visit.caller,
        now=now,
    )
    views = rule_views(decision.findings)
    return page(
        request,
        "gate.html",
        status=200 if refusal is None else STATUS[type(refusal)],
        visit=visit,
        now=now,
        prefix=prefix,
        number=number,
        channel=channel,
        decision=decision,
        passed=decision.result is GateResult.PASSED,
        closing=[
            *(each for each in artifact_findings(decision.findings) if each.blocks),
            *(each for view in views for each in view.blocking),
        ],
        rules=views,
        artifact_findings=artifact_findings(decision.findings),
        notices=notices(decision.findings),
        missing=_missing_evidence(sessions, prefix, decision, views),
        request_line=shell_commands.promotion(origin_of(request), prefix, number, channel),
        is_publisher=Role.PUBLISHER in visit.caller.roles(prefix.namespace),
        is_admin=Role.ADMIN in visit.caller.roles(prefix.namespace),
        refusal=refusal,
    )


@dataclass(frozen=True, slots=True)
class UnmeasuredCells:
    """The cells of a rule that no complete evaluation measured, and the samples each needs."""

    rule: str
    cells: Sequence[CellKey]
    samples: int


@dataclass(frozen=True, slots=True)
class MissingEvidence:
    """The unmeasured cells of a version by rule; `needs_rows` if aggregates cannot satisfy it."""

    rules: Sequence[UnmeasuredCells]
    digest: str
    path: str
    needs_rows: bool


def _missing_evidence(
    sessions: Sessions, prefix: PrefixName, decision: Decision, views: Sequence[RuleView]
) -> MissingEvidence | None:
    unmeasured = {view.rule: missing_keys(view) for view in views if missing_keys(view)}
    if not unmeasured:
        return None
    with sessions() as session:
        row = policy_versioned(session, decision.policy.name, decision.policy.version)
    policy, candidate = policy_of(expect(row)), decision.candidates[0]
    return MissingEvidence(
        rules=[
            UnmeasuredCells(rule, cells, _fewest_samples(policy, rule))
            for rule, cells in unmeasured.items()
        ],
        digest=candidate.digest,
        path=f"/v1/prefixes/{prefix}/versions/{candidate.number}/evaluations",
        needs_rows=policy.evidence.level > 0 or bool(compared_metrics(policy)),
    )


def _fewest_samples(policy: Policy, metric: str) -> int:
    return max(rule.min_samples or 1 for rule in policy.rules if rule.metric == metric)
