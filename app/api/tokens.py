"""API tokens over HTTP: issuing, listing and revoking them."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field

from app.api.fields import ChannelName, Duration, In, Out, PageOut, PageQuery
from app.api.principals import PrincipalName
from app.db.models import ApiToken
from app.db.tokens import tokens_page
from app.domain.errors import (
    ForbiddenError,
    NotFoundError,
    PrincipalDeactivatedError,
    UnknownReferenceError,
)
from app.domain.identity.access import EVERYWHERE, Role
from app.http.bodies import JsonBody
from app.http.deps import Caller, SessionsDep, TransactionsDep
from app.http.problems import refuses
from app.http.role_checks import needs_everywhere
from app.services.identity import tokens

router = APIRouter(prefix="/tokens", tags=["identity"])


class TokenIn(In):
    principal: PrincipalName
    expires_in: Duration = Field(
        default=timedelta(days=30), gt=timedelta(0), le=timedelta(days=366)
    )
    channels: list[ChannelName] | None = Field(
        default=None,
        max_length=64,
        description="If given, the token can only read versions that these channels serve.",
    )


class IssuedTokenOut(Out):
    id: UUID
    token: str = Field(description="Returned only once; the registry stores only its hash.")
    principal: str
    channels: list[str] | None
    expires_at: datetime


class TokenOut(Out):
    id: UUID
    principal: str
    channels: list[str] | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(
        description="Accurate to five minutes; null if the token was never used."
    )


def _out(row: ApiToken) -> TokenOut:
    return TokenOut(
        id=row.id,
        principal=row.principal.name,
        channels=row.channels,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )


@router.post(
    "",
    status_code=201,
    dependencies=[needs_everywhere(Role.ADMIN)],
    responses=refuses(ForbiddenError, PrincipalDeactivatedError, UnknownReferenceError),
)
def issue_token(
    body: JsonBody[TokenIn], response: Response, transactions: TransactionsDep
) -> IssuedTokenOut:
    """Issue a token. No later response contains it."""
    row, secret = tokens.issue_token(
        transactions,
        principal=body.principal,
        lifetime=body.expires_in,
        channels=body.channels,
    )
    response.headers["Location"] = f"/v1/tokens/{row.id}"
    # With no-store, the idempotency record does not keep the body either.
    response.headers["Cache-Control"] = "no-store"
    return IssuedTokenOut(
        id=row.id,
        token=secret,
        principal=body.principal,
        channels=row.channels,
        expires_at=row.expires_at,
    )


@router.get("", responses=refuses(ForbiddenError))
def list_tokens(
    sessions: SessionsDep,
    caller: Caller,
    page: PageQuery,
    principal: Annotated[
        PrincipalName | None, Query(description="Only this principal's tokens.")
    ] = None,
) -> PageOut[TokenOut]:
    """List issued tokens, latest first, including expired and revoked ones."""
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions() as session:
        found = tokens_page(session, page, principal=principal)
    return PageOut(items=[_out(row) for row in found.items], next=found.next)


@router.delete("/{token_id}", status_code=204, responses=refuses(ForbiddenError, NotFoundError))
def revoke_token(token_id: UUID, transactions: TransactionsDep) -> Response:
    """Revoke a token with immediate effect."""
    tokens.revoke_token(transactions, token_id=token_id)
    return Response(status_code=204)
