"""Policy pages: each policy in words, its changes, and the channels bound to it."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from app.db.policies import channels_bound_to, newest_policies, policy_of, policy_versioned
from app.domain.identity.access import not_found
from app.http.deps import SessionsDep
from app.pages.inputs import Number
from app.pages.login.session_cookies import Visitor
from app.pages.presentation import shell_commands
from app.pages.presentation.differences import differences
from app.pages.presentation.policy_text import sentences
from app.pages.rendering import origin_of, page

router = APIRouter()

PolicyName = Annotated[str, Path(max_length=64, pattern=r"^[^\x00-\x1f]+$")]


@router.get("/policies")
def every_policy(request: Request, visit: Visitor, sessions: SessionsDep) -> Response:
    visit.caller.require_working_role()
    with sessions() as session:
        found = newest_policies(session)
    return page(
        request,
        "policies.html",
        visit=visit,
        policies=[(row, sentences(policy_of(row))) for row in found],
        suite_line=shell_commands.suite(origin_of(request)),
        line=shell_commands.policy(origin_of(request)),
    )


@router.get("/policies/{name}/{number}")
def policy(
    request: Request, name: PolicyName, number: Number, visit: Visitor, sessions: SessionsDep
) -> Response:
    """Show one version of a policy and its changes from the previous version."""
    visit.caller.require_working_role()
    with sessions() as session:
        row = policy_versioned(session, name, number)
        if row is None:
            raise not_found("policy", f"{name} version {number}")
        before = policy_versioned(session, name, number - 1) if number > 1 else None
        after = policy_versioned(session, name, number + 1)
        bound = channels_bound_to(session, visit.caller, name)
    return page(
        request,
        "policy.html",
        visit=visit,
        policy=row,
        before=before,
        after=after,
        sentences=sentences(policy_of(row)),
        changes=differences(None if before is None else before.document, row.document),
        bound=bound,
    )
