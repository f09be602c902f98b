"""Principals and their grants over HTTP."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator, Field, StrictBool, StrictStr, field_validator

from app.api.fields import In, Line, Out, PageOut, PageQuery
from app.db.models import Principal
from app.db.principals import principal_named, principals_page
from app.domain.errors import (
    AlreadyExistsError,
    ForbiddenError,
    NotFoundError,
    PrincipalDeactivatedError,
    UnknownReferenceError,
)
from app.domain.identity.access import EVERYWHERE, Grant, PrincipalKind, Role, not_found
from app.domain.identity.oidc import FederatedIdentity, comparable_claims, identity_fault
from app.domain.naming import is_namespace
from app.http.bodies import JsonBody
from app.http.deps import Caller, IssuersDep, SessionsDep, TransactionsDep
from app.http.problems import refuses
from app.http.role_checks import needs_everywhere
from app.services.identity import principals

router = APIRouter(tags=["identity"])

_NAME_PATTERN = r"^[A-Za-z0-9](?:[A-Za-z0-9._@-]{0,94}[A-Za-z0-9])?$"


def _scope(text: str) -> str:
    if text != EVERYWHERE and not is_namespace(text):
        raise ValueError("must be a namespace, in lower case, or * for all of them")
    return text


PrincipalName = Annotated[str, Field(pattern=_NAME_PATTERN, examples=["alice"])]
PrincipalPath = Annotated[str, Path(pattern=_NAME_PATTERN)]


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


class IdentityIn(In):
    """Matches tokens of `issuer` that have all of these claims with exactly these values."""

    issuer: Line
    claims: dict[Line, StrictBool | Annotated[StrictStr, Field(min_length=1, max_length=1024)]] = (
        Field(max_length=16, examples=[{"repository": "acme/voice", "ref": "refs/heads/main"}])
    )

    @field_validator("claims")
    @classmethod
    def _is_specific_enough(cls, claims: dict[str, bool | str]) -> dict[str, bool | str]:
        if fault := identity_fault(claims):
            raise ValueError(fault)
        if claims != comparable_claims(claims):
            raise ValueError("must be printable")
        return claims

    def identity(self) -> FederatedIdentity:
        return FederatedIdentity(self.issuer, self.claims)


class IdentitiesIn(In):
    identities: list[IdentityIn] = Field(max_length=64)


class GrantOut(Out):
    role: Role
    namespace: str


class IdentityOut(Out):
    issuer: str
    claims: dict[str, str | bool]


class PrincipalOut(Out):
    id: UUID
    name: str
    kind: PrincipalKind
    grants: list[GrantOut]
    identities: list[IdentityOut]
    created_at: datetime
    deactivated_at: datetime | None


class CallerOut(Out):
    id: UUID
    name: str
    kind: PrincipalKind
    grants: list[GrantOut]
    channels: list[str] | None = Field(
        description="If not null, the token can only read versions that these channels serve."
    )


def _out(row: Principal) -> PrincipalOut:
    return PrincipalOut.model_validate(row)


@router.get("/me", responses=refuses())
def me(caller: Caller) -> CallerOut:
    """Return the authenticated principal and its grants."""
    return CallerOut(
        id=caller.id,
        name=caller.name,
        kind=caller.kind,
        grants=[GrantOut.model_validate(grant) for grant in sorted(caller.grants)],
        channels=None if caller.channels is None else sorted(caller.channels),
    )


@router.post(
    "/principals",
    status_code=201,
    dependencies=[needs_everywhere(Role.ADMIN)],
    responses=refuses(ForbiddenError, AlreadyExistsError),
)
def create_principal(
    body: JsonBody[PrincipalIn], response: Response, transactions: TransactionsDep
) -> PrincipalOut:
    """Create a human or service principal with its grants."""
    grants = [grant.grant() for grant in body.grants]
    row = principals.create_principal(transactions, name=body.name, kind=body.kind, grants=grants)
    response.headers["Location"] = f"/v1/principals/{row.name}"
    return _out(row)


@router.get("/principals", responses=refuses(ForbiddenError))
def list_principals(
    sessions: SessionsDep, caller: Caller, page: PageQuery
) -> PageOut[PrincipalOut]:
    """List all principals by name, including deactivated ones."""
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions() as session:
        found = principals_page(session, page)
    return PageOut(items=[_out(row) for row in found.items], next=found.next)


@router.get("/principals/{principal}", responses=refuses(ForbiddenError, NotFoundError))
def principal(principal: PrincipalPath, sessions: SessionsDep, caller: Caller) -> PrincipalOut:
    caller.require_in(Role.ADMIN, EVERYWHERE)
    with sessions() as session:
        row = principal_named(session, principal)
    if row is None:
        raise not_found("principal", principal)
    return _out(row)


@router.delete(
    "/principals/{principal}", status_code=204, responses=refuses(ForbiddenError, NotFoundError)
)
def deactivate_principal(principal: PrincipalPath, transactions: TransactionsDep) -> Response:
    """Deactivate a principal at once and permanently. Its history stays; its name stays taken."""
    principals.deactivate(transactions, name=principal)
    return Response(status_code=204)


@router.put(
    "/grants",
    dependencies=[needs_everywhere(Role.ADMIN)],
    responses=refuses(ForbiddenError, NotFoundError, PrincipalDeactivatedError),
)
def set_grants(body: JsonBody[GrantsIn], transactions: TransactionsDep) -> PrincipalOut:
    """Replace all grants of a principal, with effect from its next request."""
    grants = [grant.grant() for grant in body.grants]
    row = principals.set_grants(transactions, name=body.principal, grants=grants)
    return _out(row)


@router.put(
    "/principals/{principal}/identities",
    dependencies=[needs_everywhere(Role.ADMIN)],
    responses=refuses(
        ForbiddenError,
        NotFoundError,
        PrincipalDeactivatedError,
        AlreadyExistsError,
        UnknownReferenceError,
    ),
)
def set_identities(
    principal: PrincipalPath,
    body: JsonBody[IdentitiesIn],
    transactions: TransactionsDep,
    issuers: IssuersDep,
) -> PrincipalOut:
    """Replace a principal's federated identities: the issuers' tokens that authenticate as it."""
    row = principals.set_identities(
        transactions,
        issuers,
        name=principal,
        identities=[identity.identity() for identity in body.identities],
    )
    return _out(row)
