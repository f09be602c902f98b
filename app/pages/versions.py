"""The version page: properties, files, evaluations and channels, and the form to revoke it."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from app.db.blobs import damaged_among
from app.db.channels import channels_of, channels_serving
from app.db.evaluations import recent_evaluations
from app.db.paging import PageRequest
from app.db.session import Sessions
from app.domain.artifacts.prefix import context_share, kv_cache_bytes
from app.domain.errors import RegistryError
from app.domain.identity.access import Role
from app.domain.naming import PrefixName
from app.http.deps import Now, PrefixPath, SessionsDep
from app.http.problems import STATUS
from app.http.text_fields import Reason, Text
from app.pages.error_pages import redirect_or_refuse
from app.pages.inputs import Number, require_typed
from app.pages.login.admission import WorkRoute
from app.pages.login.session_cookies import Sender, SenderTransactions, Visitor
from app.pages.presentation.differences import differences
from app.pages.rendering import page
from app.services.artifacts import revocations
from app.services.artifacts.near_copies import visible_near_copies
from app.services.identity.visibility import visible_version
from app.services.identity.web_sessions import PageVisit

_NEAR_LISTED: Final = 20

router = APIRouter(prefix="/prefixes/{namespace}/{name}/versions/{number}", route_class=WorkRoute)


@router.get("")
def version(
    request: Request,
    prefix: PrefixPath,
    number: Number,
    visit: Visitor,
    sessions: SessionsDep,
    now: Now,
) -> Response:
    return _version_page(request, visit, sessions, prefix, number, now)


@router.post("/revoke")
def revoke(
    request: Request,
    prefix: PrefixPath,
    number: Number,
    visit: Sender,
    transactions: SenderTransactions,
    sessions: SessionsDep,
    now: Now,
    reason: Annotated[Reason, Form()],
    confirmation: Annotated[Text, Form()] = "",
) -> Response:
    """Revoke a version; the caller must type its number to confirm."""

    def act() -> None:
        why = ": a revoked version cannot be restored."
        require_typed(f"revoke {number}", confirmation, why)
        revocations.revoke(transactions, prefix=prefix, number=number, reason=reason)

    return redirect_or_refuse(
        act,
        done=lambda _: f"/admin/prefixes/{prefix}/versions/{number}?done=revoke",
        refused=lambda refusal: _version_page(
            request, visit, sessions, prefix, number, now, refusal=refusal
        ),
    )


def _version_page(
    request: Request,
    visit: PageVisit,
    sessions: Sessions,
    prefix: PrefixName,
    number: int,
    now: datetime,
    *,
    refusal: RegistryError | None = None,
) -> Response:
    caller = visit.caller
    sees_all = caller.can_see_unreleased(prefix.namespace)
    with sessions() as session:
        row = visible_version(session, caller, prefix, number)
        serving = channels_serving(session, [row.id]).get(row.id, [])
        damaged = damaged_among(session, [row.id]).get(row.id, [])
        evaluations = recent_evaluations(session, row, caller) if sees_all else []
        near = visible_near_copies(session, caller, row, PageRequest(_NEAR_LISTED))
        channels = channels_of(session, [row.prefix_id]).get(row.prefix_id, []) if sees_all else []
    return page(
        request,
        "version.html",
        status=200 if refusal is None else STATUS[type(refusal)],
        visit=visit,
        now=now,
        prefix=prefix,
        version=row,
        serving=[name for name in serving if caller.can_see_channel(name)],
        damaged=damaged,
        evaluations=evaluations,
        near=near,
        channels=channels,
        sees_all=sees_all,
        card=differences(None, row.card),
        lineage=differences(None, row.lineage),
        cache_bytes=kv_cache_bytes(row.parameters),
        context_share=context_share(row.virtual_tokens, row.base_model.geometry),
        is_approver=Role.APPROVER in caller.roles(prefix.namespace),
        refusal=refusal,
        done=request.query_params.get("done"),
    )
