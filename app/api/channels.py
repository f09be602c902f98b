"""Channels over HTTP: binding, reading, history, rollback."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import Field
from sqlalchemy.orm import Session

from app.api.fields import (
    LARGEST_NUMBER,
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
from app.bodies import Sent
from app.db.channels import allocation_of, history_page
from app.db.models import Channel, Generation
from app.deps import Caller, Now, PrefixPath, SessionsDep
from app.domain.errors import (
    ForbiddenError,
    NotFoundError,
    NothingToChangeError,
    PolicyUnsatisfiableError,
    UnknownReferenceError,
    VersionRevokedError,
)
from app.domain.lifecycle import GenerationKind
from app.problems import refuses
from app.services import channels
from app.services.sight import seen_channel

router = APIRouter(prefix="/prefixes/{namespace}/{name}/channels", tags=["channels"])

ChannelPath = Annotated[Label, Path()]


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
    responses=refuses(
        ForbiddenError, NotFoundError, UnknownReferenceError, PolicyUnsatisfiableError
    ),
)
def bind_channel(
    prefix: PrefixPath,
    channel: ChannelPath,
    body: Sent[BindingIn],
    sessions: SessionsDep,
    caller: Caller,
    now: Now,
) -> ChannelOut:
    """Create a channel under a policy version, or put it under another."""
    row = channels.bind(
        sessions,
        prefix=prefix,
        name=channel,
        policy=body.policy,
        policy_version=body.policy_version,
        caller=caller,
        now=now,
    )
    with sessions() as session:
        return _out(session, row)


@router.get("/{channel}", responses=refuses(NotFoundError))
def channel(
    prefix: PrefixPath, channel: ChannelPath, sessions: SessionsDep, caller: Caller
) -> ChannelOut:
    with sessions() as session:
        return _out(session, seen_channel(session, caller, prefix, channel))


@router.get("/{channel}/history", responses=refuses(NotFoundError))
def channel_history(
    prefix: PrefixPath,
    channel: ChannelPath,
    sessions: SessionsDep,
    caller: Caller,
    page: PageQuery,
    at: Annotated[Time | None, Query(description="Only what was live at this time.")] = None,
) -> PageOut[GenerationOut]:
    """List what the channel served, latest first."""
    with sessions() as session:
        row = seen_channel(session, caller, prefix, channel)
        found = history_page(session, row, page, at=at)
    return PageOut(items=[_generation_out(row) for row in found.items], next=found.next)


@router.post(
    "/{channel}/rollback",
    responses=refuses(ForbiddenError, NotFoundError, NothingToChangeError, VersionRevokedError),
)
def roll_back_channel(
    prefix: PrefixPath,
    channel: ChannelPath,
    body: Sent[RollbackIn],
    sessions: SessionsDep,
    caller: Caller,
    now: Now,
) -> ChannelOut:
    """Serve again, at once, what an earlier generation served."""
    row = channels.rollback(
        sessions,
        prefix=prefix,
        name=channel,
        generation=body.generation,
        reason=body.reason,
        caller=caller,
        now=now,
    )
    with sessions() as session:
        return _out(session, row)


def _out(session: Session, row: Channel) -> ChannelOut:
    return ChannelOut(
        name=row.name,
        policy=PolicyRefOut.model_validate(row.policy),
        generation=row.generation,
        allocation=[ShareOut.model_validate(share) for share in allocation_of(session, row)],
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
