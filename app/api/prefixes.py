"""Prefixes over HTTP."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field
from sqlalchemy.orm import Session

from app.api.fields import (
    Digest,
    In,
    Label,
    Line,
    Name,
    Namespace,
    Out,
    PageOut,
    PageQuery,
    Searched,
    Text,
)
from app.db.channels import allocations_of, channels_of
from app.db.models import Channel, Prefix
from app.db.prefixes import PrefixFilter, prefixes_page
from app.domain.errors import (
    AlreadyExistsError,
    ForbiddenError,
    NotFoundError,
    UnknownReferenceError,
)
from app.domain.governance.allocation import Share
from app.domain.identity.access import Role
from app.domain.naming import PrefixName
from app.http.bodies import JsonBody
from app.http.deps import Caller, PrefixPath, SessionsDep, TransactionsDep
from app.http.problems import refuses
from app.http.role_checks import needs_somewhere
from app.services.artifacts import prefixes
from app.services.identity.visibility import visible_prefix

router = APIRouter(prefix="/prefixes", tags=["prefixes"])


class PrefixIn(In):
    namespace: Namespace
    name: Name
    owner: Line = Field(description="The accountable principal; ownership grants no rights.")
    description: Text = ""
    intended_uses: list[Label] = Field(default_factory=list, max_length=32)


class ShareOut(Out):
    version: int
    weight: int


class ChannelSummaryOut(Out):
    name: str
    generation: int
    allocation: list[ShareOut]


class PrefixOut(Out):
    namespace: str
    name: str
    owner: str
    description: str
    intended_uses: list[str]
    created_at: datetime
    created_by: str
    latest: int | None = Field(description="The number of the latest version.")
    channels: list[ChannelSummaryOut]


def prefix_outs(session: Session, caller: Caller, found: Sequence[Prefix]) -> list[PrefixOut]:
    """Return each prefix as far as it is visible to the caller, with two queries in total."""
    channels = channels_of(session, [prefix.id for prefix in found])
    all_channels = [channel for of_prefix in channels.values() for channel in of_prefix]
    allocations = allocations_of(session, all_channels)
    return [_out(prefix, channels.get(prefix.id, []), allocations, caller) for prefix in found]


def _out(
    prefix: Prefix,
    channels: Sequence[Channel],
    allocations: Mapping[UUID, list[Share]],
    caller: Caller,
) -> PrefixOut:
    can_see_unreleased = caller.can_see_unreleased(prefix.namespace)
    return PrefixOut(
        namespace=prefix.namespace,
        name=prefix.name,
        owner=prefix.owner.name,
        description=prefix.description,
        intended_uses=prefix.intended_uses,
        created_at=prefix.created_at,
        created_by=prefix.created_by.name,
        latest=(prefix.last_number or None) if can_see_unreleased else None,
        channels=[
            ChannelSummaryOut(
                name=channel.name,
                generation=channel.generation,
                allocation=[ShareOut.model_validate(s) for s in allocations.get(channel.id, [])],
            )
            for channel in channels
            if caller.can_see_channel(channel.name)
        ],
    )


@router.post(
    "",
    status_code=201,
    dependencies=[needs_somewhere(Role.PUBLISHER)],
    responses=refuses(ForbiddenError, AlreadyExistsError, UnknownReferenceError),
)
def create_prefix(
    body: JsonBody[PrefixIn], response: Response, transactions: TransactionsDep
) -> PrefixOut:
    """Create an empty prefix, owned by a named principal."""
    name = PrefixName(body.namespace, body.name)
    row = prefixes.create(
        transactions,
        name=name,
        owner=body.owner,
        description=body.description,
        intended_uses=body.intended_uses,
    )
    response.headers["Location"] = f"/v1/prefixes/{name}"
    with transactions.read() as session:
        return prefix_outs(session, transactions.caller, [row])[0]


@router.get("", responses=refuses())
def list_prefixes(
    sessions: SessionsDep,
    caller: Caller,
    page: PageQuery,
    namespace: Searched | None = None,
    base_model: Digest | None = None,
    q: Annotated[Searched | None, Query(description="Any part of the full name.")] = None,
) -> PageOut[PrefixOut]:
    """List the prefixes visible to you, by name."""
    wanted = PrefixFilter(namespace, base_model, q)
    with sessions() as session:
        found = prefixes_page(session, caller, wanted, page)
        items = prefix_outs(session, caller, found.items)
    return PageOut(items=items, next=found.next)


@router.get("/{namespace}/{name}", responses=refuses(NotFoundError))
def prefix(prefix: PrefixPath, sessions: SessionsDep, caller: Caller) -> PrefixOut:
    with sessions() as session:
        return prefix_outs(session, caller, [visible_prefix(session, caller, prefix)])[0]
