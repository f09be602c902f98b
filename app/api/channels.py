"""Channels over HTTP: binding, reading, history, rollback."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from pydantic import Field
from sqlalchemy.orm import Session

from app.api.fields import (
    LARGEST_NUMBER,
    ChannelName,
    In,
    Label,
    Out,
    PageOut,
    PageQuery,
    Reason,
    Time,
)
from app.api.gates import PolicyRefOut
from app.api.prefixes import ShareOut
from app.db.channels import allocation_of, had_break_glass, history_page
from app.db.models import Channel, Generation
from app.domain.delivery.conditional_requests import Precondition, is_named
from app.domain.errors import (
    ForbiddenError,
    NotFoundError,
    NothingToChangeError,
    PolicyUnsatisfiableError,
    PreconditionFailedError,
    UnknownReferenceError,
    VersionRevokedError,
)
from app.domain.governance.lifecycle import GenerationKind
from app.domain.identity.access import Role
from app.http.bodies import JsonBody
from app.http.deps import Caller, PrefixPath, SessionsDep, TransactionsDep
from app.http.limits import urgent
from app.http.problems import refuses
from app.http.role_checks import needs
from app.services.governance import channels
from app.services.identity.visibility import visible_channel

router = APIRouter(prefix="/prefixes/{namespace}/{name}/channels", tags=["channels"])

ChannelPath = Annotated[ChannelName, Path()]
_TAGGED: Final = {
    "headers": {
        "ETag": {
            "description": "Changes with the policy and the generation; send it as If-Match.",
            "schema": {"type": "string"},
        }
    }
}


async def _precondition(
    if_match: Annotated[
        str | None, Header(description="Change the channel only if this is its ETag.")
    ] = None,
    if_none_match: Annotated[
        str | None, Header(description="`*`: only if the channel does not exist yet.")
    ] = None,
) -> Precondition:
    return Precondition(if_match, if_none_match)


Expected = Annotated[Precondition, Depends(_precondition)]


class BindingIn(In):
    policy: Label
    policy_version: int = Field(ge=1, le=LARGEST_NUMBER)


class RollbackIn(In):
    generation: int = Field(ge=1, le=LARGEST_NUMBER)
    reason: Reason


class ChannelOut(Out):
    name: str
    policy: PolicyRefOut
    generation: int
    allocation: list[ShareOut]
    break_glass: bool = Field(description="Whether break-glass ever moved the channel.")


class GenerationOut(Out):
    generation: int
    kind: GenerationKind
    allocation: list[ShareOut]
    promotion: UUID | None
    reason: str
    executed_at: datetime
    executed_by: str


@router.put(
    "/{channel}",
    dependencies=[needs(Role.ADMIN)],
    responses={
        200: _TAGGED,
        **refuses(
            ForbiddenError,
            NotFoundError,
            UnknownReferenceError,
            PolicyUnsatisfiableError,
            PreconditionFailedError,
        ),
    },
)
def bind_channel(
    prefix: PrefixPath,
    channel: ChannelPath,
    body: JsonBody[BindingIn],
    expected: Expected,
    response: Response,
    transactions: TransactionsDep,
) -> ChannelOut:
    """Create a channel bound to a policy version, or bind an existing one to another version."""
    row = channels.bind(
        transactions,
        prefix=prefix,
        name=channel,
        policy=body.policy,
        policy_version=body.policy_version,
        precondition=expected,
    )
    response.headers["ETag"] = channels.channel_tag(row)
    with transactions.read() as session:
        return _out(session, row)


@router.get(
    "/{channel}",
    response_model=ChannelOut,
    responses={
        200: _TAGGED,
        304: {"description": "The channel has not changed."},
        **refuses(NotFoundError),
    },
)
def channel(
    prefix: PrefixPath,
    channel: ChannelPath,
    response: Response,
    sessions: SessionsDep,
    caller: Caller,
    if_none_match: Annotated[str | None, Header()] = None,
) -> ChannelOut | Response:
    with sessions() as session:
        row = visible_channel(session, caller, prefix, channel)
        tag = channels.channel_tag(row)
        if is_named(tag, if_none_match):
            return Response(status_code=304, headers={"ETag": tag})
        response.headers["ETag"] = tag
        return _out(session, row)


@router.get("/{channel}/history", responses=refuses(NotFoundError))
def channel_history(
    prefix: PrefixPath,
    channel: ChannelPath,
    sessions: SessionsDep,
    caller: Caller,
    page: PageQuery,
    at: Annotated[
        Time | None, Query(description="Only the generation that was live at this time.")
    ] = None,
) -> PageOut[GenerationOut]:
    """List the channel's generations, latest first."""
    with sessions() as session:
        row = visible_channel(session, caller, prefix, channel)
        found = history_page(session, row, page, at=at)
    return PageOut(items=[_generation_out(row) for row in found.items], next=found.next)


@router.post(
    "/{channel}/rollback",
    dependencies=[needs(Role.APPROVER)],
    responses={
        200: _TAGGED,
        **refuses(
            ForbiddenError,
            NotFoundError,
            NothingToChangeError,
            VersionRevokedError,
            PreconditionFailedError,
        ),
    },
)
@urgent
def roll_back_channel(
    prefix: PrefixPath,
    channel: ChannelPath,
    body: JsonBody[RollbackIn],
    expected: Expected,
    response: Response,
    transactions: TransactionsDep,
) -> ChannelOut:
    """Serve the allocation of an earlier generation again, at once."""
    row = channels.rollback(
        transactions,
        prefix=prefix,
        name=channel,
        generation=body.generation,
        reason=body.reason,
        precondition=expected,
    )
    response.headers["ETag"] = channels.channel_tag(row)
    with transactions.read() as session:
        return _out(session, row)


def _out(session: Session, row: Channel) -> ChannelOut:
    return ChannelOut(
        name=row.name,
        policy=PolicyRefOut.model_validate(row.policy),
        generation=row.generation,
        allocation=[ShareOut.model_validate(share) for share in allocation_of(session, row)],
        break_glass=had_break_glass(session, row),
    )


def _generation_out(row: Generation) -> GenerationOut:
    return GenerationOut(
        generation=row.number,
        kind=row.kind,
        allocation=[
            ShareOut(version=share.version.number, weight=share.weight) for share in row.shares
        ],
        promotion=row.promotion_id,
        reason=row.reason,
        executed_at=row.executed_at,
        executed_by=row.executed_by.name,
    )
