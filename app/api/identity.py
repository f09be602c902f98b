"""Principals, grants and tokens over HTTP."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import AfterValidator, Field

from app.api.admission import needs_everywhere
from app.api.fields import In, Label, Out
from app.bodies import Sent
from app.db.models import Principal
from app.deps import Caller, Now, SessionsDep
from app.domain.access import EVERYWHERE, Grant, PrincipalKind, Role
from app.domain.errors import (
    AlreadyExistsError,
    ForbiddenError,
    NotFoundError,
    UnknownReferenceError,
)
from app.domain.identity import is_name
from app.problems import refuses
from app.services import identity

router = APIRouter(tags=["identity"])


def _scope(text: str) -> str:
    if text != EVERYWHERE and not is_name(text):
        raise ValueError("must be a namespace, or * for all of them")
    return text


PrincipalName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._@-]{0,94}[A-Za-z0-9])?$", examples=["alice"])
]


class GrantIn(In):
    role: Role
    namespace: Annotated[str, AfterValidator(_scope)]

    def grant(self) -> Grant:
        return Grant(self.role, self.namespace)


class PrincipalIn(In):
    name: PrincipalName
    kind: PrincipalKind
    grants: list[GrantIn] = Field(default_factory=list, max_length=256)


class GrantsIn(In):
    principal: PrincipalName
    grants: list[GrantIn] = Field(max_length=256)


class TokenIn(In):
    principal: PrincipalName
    expires_in: timedelta = Field(
        default=timedelta(days=30), gt=timedelta(0), le=timedelta(days=366)
    )
    channels: list[Label] | None = Field(
        default=None, max_length=64, description="If given, it only reads what these serve."
    )


class GrantOut(Out):
    role: Role
    namespace: str


class PrincipalOut(Out):
    id: UUID
    name: str
    kind: PrincipalKind
    grants: list[GrantOut]
    created_at: datetime


class TokenOut(Out):
    id: UUID
    token: str = Field(description="Shown this once; only its hash is kept.")
    principal: str
    channels: list[str] | None
    expires_at: datetime


def _out(row: Principal) -> PrincipalOut:
    return PrincipalOut.model_validate(row)


@router.post(
    "/principals",
    status_code=201,
    dependencies=[needs_everywhere(Role.ADMIN)],
    responses=refuses(ForbiddenError, AlreadyExistsError),
)
def create_principal(
    body: Sent[PrincipalIn], sessions: SessionsDep, caller: Caller, now: Now
) -> PrincipalOut:
    """Create a person or a service, with what it may do."""
    grants = [grant.grant() for grant in body.grants]
    row = identity.create_principal(
        sessions, name=body.name, kind=body.kind, grants=grants, caller=caller, now=now
    )
    return _out(row)


@router.put(
    "/grants",
    dependencies=[needs_everywhere(Role.ADMIN)],
    responses=refuses(ForbiddenError, NotFoundError),
)
def set_grants(
    body: Sent[GrantsIn], sessions: SessionsDep, caller: Caller, now: Now
) -> PrincipalOut:
    """Replace all grants of a principal; they hold from its next request on."""
    grants = [grant.grant() for grant in body.grants]
    row = identity.set_grants(sessions, name=body.principal, grants=grants, caller=caller, now=now)
    return _out(row)


@router.post(
    "/tokens",
    status_code=201,
    dependencies=[needs_everywhere(Role.ADMIN)],
    responses=refuses(ForbiddenError, UnknownReferenceError),
)
def issue_token(
    body: Sent[TokenIn], response: Response, sessions: SessionsDep, caller: Caller, now: Now
) -> TokenOut:
    """Issue a token. The answer is the only time that it is shown."""
    row, secret = identity.issue_token(
        sessions,
        principal=body.principal,
        lifetime=body.expires_in,
        channels=body.channels,
        caller=caller,
        now=now,
    )
    response.headers["Location"] = f"/v1/tokens/{row.id}"
    response.headers["Cache-Control"] = "no-store"  # not for a retry of this request either
    return TokenOut(
        id=row.id,
        token=secret,
        principal=body.principal,
        channels=row.channels,
        expires_at=row.expires_at,
    )


@router.delete(
    "/tokens/{token_id}", status_code=204, responses=refuses(ForbiddenError, NotFoundError)
)
def revoke_token(token_id: UUID, sessions: SessionsDep, caller: Caller, now: Now) -> Response:
    """Revoke a token at once."""
    identity.revoke_token(sessions, token_id=token_id, caller=caller, now=now)
    return Response(status_code=204)
