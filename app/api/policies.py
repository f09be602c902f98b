"""Policies over HTTP, as JSON or YAML."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import Field, ValidationError
from starlette.concurrency import run_in_threadpool

from app.api.fields import LARGEST_NUMBER, Duration, In, Label, Line, LookupName, Out
from app.db.models import PolicyRow
from app.db.policies import POLICY, policy_versioned
from app.domain.errors import (
    ForbiddenError,
    InvalidPolicyError,
    NotFoundError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from app.domain.governance import policies as domain
from app.domain.governance.policies import Contributor
from app.domain.identity.access import Role, not_found
from app.http.bodies import media_type, parsed, small_body
from app.http.deps import Caller, LimitsDep, SessionsDep, TransactionsDep
from app.http.problems import invalid_request, refuses, returns_existing
from app.http.role_checks import needs_everywhere
from app.http.safe_yaml import yaml_value
from app.services.governance import policies

router = APIRouter(prefix="/policies", tags=["policies"])

_YAML: Final = {"application/yaml", "application/x-yaml", "text/yaml"}

Confidence = Annotated[float, Field(gt=0.5, lt=1)]
Count = Annotated[int, Field(ge=0, le=20)]
Period = Annotated[Duration, Field(ge=timedelta(0), le=timedelta(days=3660))]


class ApprovalsIn(In):
    required: Count = 1
    exclude: list[Contributor] = Field(default=list(domain.EVERY_CONTRIBUTOR))
    human: bool = True
    valid_for: Annotated[Period, Field(gt=timedelta(0))] = timedelta(days=7)
    wait: Period = timedelta(0)


class EvidenceDemandIn(In):
    max_age: Annotated[Period, Field(gt=timedelta(0))] | None = None
    level: int = Field(
        default=1,
        ge=0,
        le=2,
        description="The least evidence level that can pass a cell: 0 reported aggregates, 1 one "
        "row per sample, 2 the samples of a sealed suite.",
    )
    samples: Literal["required", "optional"] = Field(
        default="optional",
        deprecated=True,
        description="Has no effect: a level of 1 or more requires samples.",
    )
    exclude_evaluators: list[Literal[Contributor.AUTHOR, Contributor.OWNER]] = Field(default=[])


class CardDemandIn(In):
    required: list[Label] = Field(default=[], max_length=32)
    forbid_uses: list[Label] = Field(default=[], max_length=32)


class ArtifactDemandIn(In):
    types: list[Literal["PREFIX_TUNING", "CARTRIDGE"]] = Field(
        default=["PREFIX_TUNING", "CARTRIDGE"], min_length=1
    )
    max_parameter_fraction: float | None = Field(default=None, gt=0, le=1)
    max_virtual_tokens: int | None = Field(default=None, ge=1, le=LARGEST_NUMBER)


class CanaryApprovalsIn(In):
    required: Count


class CanaryIn(In):
    max_weight: int = Field(ge=1, le=9_999)
    approvals: CanaryApprovalsIn


class AttemptsIn(In):
    correct: bool = Field(
        default=False,
        description="Whether the k-th content of a prefix that a suite version measures is tested "
        "at 1 / (k (k + 1)) of the level, so that trying variants does not help.",
    )


class IncumbentsIn(In):
    """The contents that rules compare candidates with as incumbents."""

    generations: int = Field(default=3, ge=1, le=20)
    anchor: int | None = Field(
        default=None, ge=1, le=LARGEST_NUMBER, description="A version that never stops counting."
    )


class MarginsIn(In):
    incumbent: float | None = None
    base: float | None = None


class RuleIn(In):
    metric: Line = Field(pattern=r"^[^/]+/[^/]+$", description="suite/metric")
    suite_version: Line | None = Field(
        default=None,
        description="The only version of the suite whose evaluations count; by default the latest.",
    )
    personas: list[Line] = Field(default=[], max_length=64)
    locales: list[Line] = Field(default=[], max_length=64)
    min_samples: int | None = Field(default=None, ge=1, le=LARGEST_NUMBER)
    at_least: float | None = None
    at_most: float | None = None
    confidence: Confidence = 0.95
    no_worse_than: MarginsIn | None = None


class PolicyIn(In):
    """A channel's demands. Fields that a rule omits are filled in from its suite."""

    name: Label
    approvals: ApprovalsIn
    rules: list[RuleIn] = Field(min_length=1, max_length=64)
    evidence: EvidenceDemandIn = EvidenceDemandIn()
    card: CardDemandIn = CardDemandIn()
    artifact: ArtifactDemandIn = ArtifactDemandIn()
    canary: CanaryIn | None = None
    attempts: AttemptsIn = AttemptsIn()
    incumbents: IncumbentsIn = IncumbentsIn()

    def policy(self) -> domain.Policy:
        return POLICY.validate_python(self.model_dump())


class PolicyOut(Out):
    name: str
    version: int
    digest: str
    document: dict[str, Any] = Field(description="The policy with all omitted fields filled in.")
    created_at: datetime
    created_by: str


def _out(row: PolicyRow) -> PolicyOut:
    return PolicyOut(
        name=row.name,
        version=row.version,
        digest=row.digest,
        document=row.document,
        created_at=row.created_at,
        created_by=row.created_by.name,
    )


async def _document(request: Request, _caller: Caller, limits: LimitsDep) -> PolicyIn:
    """Read a policy as JSON or, by its content type, as YAML."""
    kind = media_type(request)
    if kind not in _YAML | {"application/json"}:
        raise UnsupportedMediaTypeError("Send the policy as application/json or application/yaml.")
    body = await small_body(request, limit_bytes=limits.metadata_bytes)
    return await run_in_threadpool(_parsed, body, is_yaml=kind in _YAML)


def _parsed(body: bytes, *, is_yaml: bool) -> PolicyIn:
    if not is_yaml:
        return parsed(PolicyIn, body)
    try:
        return PolicyIn.model_validate(yaml_value(body))
    except ValidationError as error:
        raise invalid_request(error.errors()) from error


Document = Annotated[PolicyIn, Depends(_document)]


@router.post(
    "",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                kind: {"schema": {"$ref": "#/components/schemas/PolicyIn"}}
                for kind in ("application/json", "application/yaml")
            },
        }
    },
    dependencies=[needs_everywhere(Role.ADMIN)],
    responses={
        **returns_existing(PolicyOut),
        **refuses(ForbiddenError, InvalidPolicyError, TooLargeError, UnsupportedMediaTypeError),
    },
)
def create_policy(body: Document, response: Response, transactions: TransactionsDep) -> PolicyOut:
    """Create the next version of a policy. Repeating the latest version's text returns 200."""
    row, new = policies.create(transactions, policy=body.policy())
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/policies/{row.name}/{row.version}"
    return _out(row)


@router.get("/{name}/{version}", responses=refuses(ForbiddenError, NotFoundError))
def policy(
    name: LookupName,
    version: Annotated[int, Path(ge=1, le=LARGEST_NUMBER)],
    sessions: SessionsDep,
    caller: Caller,
) -> PolicyOut:
    caller.require_working_role()
    with sessions() as session:
        row = policy_versioned(session, name, version)
    if row is None:
        raise not_found("policy", f"{name} version {version}")
    return _out(row)
