"""Suites over HTTP."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from app.api.fields import Digest, In, Label, LookupName, Out
from app.db.evaluations import suite_versioned
from app.db.models import SuiteRow
from app.domain.errors import (
    AlreadyExistsError,
    ForbiddenError,
    InvalidSuiteError,
    NotFoundError,
)
from app.domain.evidence.suites import Metric, MetricKind, Suite
from app.domain.identity.access import Role, not_found
from app.http.bodies import JsonBody
from app.http.deps import Caller, SessionsDep, TransactionsDep
from app.http.problems import refuses, returns_existing
from app.http.role_checks import needs_everywhere
from app.services.evidence import suites

router = APIRouter(prefix="/suites", tags=["evidence"])

Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["novice"])]


class MetricIn(In):
    name: Label
    kind: MetricKind
    higher_is_better: bool
    minimum: float | None = None
    maximum: float | None = None


class SuiteIn(In):
    name: Label
    version: Tag
    dataset_digest: Digest
    personas: list[Tag] = Field(min_length=1, max_length=64)
    locales: list[Tag] = Field(min_length=1, max_length=64)
    metrics: list[MetricIn] = Field(min_length=1, max_length=64)

    def suite(self) -> Suite:
        return Suite(
            name=self.name,
            version=self.version,
            dataset_digest=self.dataset_digest,
            personas=tuple(self.personas),
            locales=tuple(self.locales),
            metrics=tuple(Metric(**dict(metric)) for metric in self.metrics),
        )


class SuiteOut(Out):
    name: str
    version: str
    digest: str
    dataset_digest: str
    personas: list[str]
    locales: list[str]
    metrics: list[dict[str, Any]]
    created_at: datetime
    created_by: str


def _out(row: SuiteRow) -> SuiteOut:
    return SuiteOut(
        **row.document,
        digest=row.digest,
        created_at=row.created_at,
        created_by=row.created_by.name,
    )


@router.post(
    "",
    status_code=201,
    dependencies=[needs_everywhere(Role.ADMIN)],
    responses={
        **returns_existing(SuiteOut),
        **refuses(ForbiddenError, AlreadyExistsError, InvalidSuiteError),
    },
)
def register_suite(
    body: JsonBody[SuiteIn], response: Response, transactions: TransactionsDep
) -> SuiteOut:
    """Register a suite version permanently. Repeating the request returns 200."""
    row, new = suites.register(transactions, suite=body.suite())
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/suites/{row.name}/{row.version}"
    return _out(row)


@router.get("/{name}/{version}", responses=refuses(ForbiddenError, NotFoundError))
def suite(
    name: LookupName,
    version: LookupName,
    sessions: SessionsDep,
    caller: Caller,
) -> SuiteOut:
    caller.require_working_role()
    with sessions() as session:
        row = suite_versioned(session, name, version)
    if row is None:
        raise not_found("suite", f"{name}@{version}")
    return _out(row)
