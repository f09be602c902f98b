"""Suites over HTTP."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app.api.fields import Digest, In, JsonObject, Label, LookupName, Out
from app.db.evaluations import manifest_file, manifest_sizes, suite_versioned
from app.db.models import SuiteRow
from app.domain.artifacts.manifest import ArtifactFile
from app.domain.delivery.conditional_requests import is_named
from app.domain.errors import (
    AlreadyExistsError,
    DamagedObjectError,
    ForbiddenError,
    InvalidSuiteError,
    NotFoundError,
    RangeNotSatisfiableError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from app.domain.evidence.manifests import MANIFEST_FILE
from app.domain.evidence.suites import Metric, MetricKind, Scorer, ScorerKind, Suite
from app.domain.identity.access import Role, not_found
from app.http.bodies import media_type, parsed, small_body
from app.http.deps import BlobsDep, Caller, LimitsDep, PartsDep, SessionsDep, TransactionsDep
from app.http.downloads import send_file
from app.http.multipart import parsed_part, received_parts
from app.http.problems import refuses, returns_existing
from app.http.role_checks import needs_everywhere
from app.services.artifacts.spooled_files import ReceivedFile
from app.services.evidence import suites

router = APIRouter(prefix="/suites", tags=["evidence"])

Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["novice"])]


class ScorerIn(In):
    """The scorer of a metric; `digest` is that of its code, judge prompt or guideline."""

    kind: ScorerKind
    digest: Digest


class MetricIn(In):
    name: Label
    kind: MetricKind
    higher_is_better: bool
    minimum: float | None = None
    maximum: float | None = None
    scorer: ScorerIn | None = None

    def metric(self) -> Metric:
        scorer = None if self.scorer is None else Scorer(self.scorer.kind, self.scorer.digest)
        return Metric(**dict(self) | {"scorer": scorer})


class _SuiteFields(In):
    name: Label
    version: Tag
    personas: list[Tag] = Field(min_length=1, max_length=64)
    locales: list[Tag] = Field(min_length=1, max_length=64)
    metrics: list[MetricIn] = Field(min_length=1, max_length=64)
    settings: JsonObject = Field(
        default_factory=dict, description="Settings that every run must state with equal values."
    )

    def suite_of(self, dataset_digest: str) -> Suite:
        return Suite(
            name=self.name,
            version=self.version,
            dataset_digest=dataset_digest,
            personas=tuple(self.personas),
            locales=tuple(self.locales),
            metrics=tuple(metric.metric() for metric in self.metrics),
            settings=self.settings,
        )


class SuiteIn(_SuiteFields):
    """An open suite: its runs may have any samples."""

    dataset_digest: Digest

    def suite(self) -> Suite:
        return self.suite_of(self.dataset_digest)


class SealedSuiteIn(_SuiteFields):
    """A suite whose samples a manifest fixes; the registry computes the data set's digest."""

    dataset_digest: Digest | None = Field(
        default=None, description="If given, it must be the digest of the canonical manifest."
    )

    def suite(self) -> Suite:
        return self.suite_of(self.dataset_digest or "")


class ManifestCellOut(Out):
    persona: str
    locale: str
    samples: int


class SuiteOut(Out):
    name: str
    version: str
    digest: str
    dataset_digest: str
    personas: list[str]
    locales: list[str]
    metrics: list[dict[str, Any]]
    settings: dict[str, Any]
    sealed: bool = Field(description="Whether a manifest fixes the samples of every run.")
    samples: list[ManifestCellOut] = Field(description="Of a sealed suite; otherwise empty.")
    created_at: datetime
    created_by: str


def _out(session: Session, row: SuiteRow) -> SuiteOut:
    sizes = manifest_sizes(session, row) if row.document["sealed"] else []
    return SuiteOut(
        **row.document,
        digest=row.digest,
        samples=[
            ManifestCellOut(persona=persona, locale=locale, samples=samples)
            for persona, locale, samples in sizes
        ],
        created_at=row.created_at,
        created_by=row.created_by.name,
    )


@dataclass(frozen=True, slots=True)
class _Registration:
    suite: Suite
    manifest: ReceivedFile | None = None


async def _registration(
    request: Request, _caller: Caller, limits: LimitsDep
) -> AsyncIterator[_Registration]:
    """Read a suite, with or without a manifest, after authenticating the caller."""
    if media_type(request) == "application/json":
        body = await small_body(request, limit_bytes=limits.metadata_bytes)
        yield _Registration((await run_in_threadpool(parsed, SuiteIn, body)).suite())
        return
    sizes = {"suite": limits.metadata_bytes, "manifest": limits.samples_bytes}
    async with received_parts(request, sizes) as parts:
        described = await run_in_threadpool(parsed_part, SealedSuiteIn, parts, "suite")
        yield _Registration(described.suite(), parts["manifest"])


_PARTS: Final = {
    "suite": {"$ref": "#/components/schemas/SealedSuiteIn"},
    "manifest": {
        "type": "string",
        "contentMediaType": "application/jsonl",
        "description": "One row per sample, plain or gzip: id, prompt_sha256, persona, locale, "
        "cluster (optional).",
    },
}
_CONTENT: Final = {
    "application/json": {"schema": {"$ref": "#/components/schemas/SuiteIn"}},
    "multipart/form-data": {
        "schema": {"type": "object", "required": list(_PARTS), "properties": _PARTS},
        "encoding": {"suite": {"contentType": "application/json"}},
    },
}


@router.post(
    "",
    status_code=201,
    openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
    dependencies=[needs_everywhere(Role.ADMIN)],
    responses={
        **returns_existing(SuiteOut),
        **refuses(
            ForbiddenError,
            AlreadyExistsError,
            TooLargeError,
            UnsupportedMediaTypeError,
            InvalidSuiteError,
        ),
    },
)
def register_suite(
    registration: Annotated[_Registration, Depends(_registration)],
    response: Response,
    transactions: TransactionsDep,
    blobs: BlobsDep,
) -> SuiteOut:
    """Register a suite version permanently; a manifest seals it. Repeating it returns 200."""
    received = registration.manifest
    row, new = suites.register(
        transactions,
        blobs,
        suite=registration.suite,
        manifest=None if received is None else received.content,
    )
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/suites/{row.name}/{row.version}"
    with transactions.read() as session:
        return _out(session, row)


@router.get("/{name}/{version}", responses=refuses(ForbiddenError, NotFoundError))
def suite(
    name: LookupName,
    version: LookupName,
    sessions: SessionsDep,
    caller: Caller,
) -> SuiteOut:
    caller.require_working_role()
    with sessions() as session:
        return _out(session, _registered(session, name, version))


@router.get(
    "/{name}/{version}/manifest",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        206: {"content": {"application/octet-stream": {}}, "description": "A part of the file."},
        304: {"description": "The client already has these bytes."},
        **refuses(ForbiddenError, NotFoundError, RangeNotSatisfiableError, DamagedObjectError),
    },
)
def download_manifest(
    name: LookupName,
    version: LookupName,
    sessions: SessionsDep,
    parts: PartsDep,
    caller: Caller,
    range_: Annotated[str | None, Header(alias="Range")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Download the manifest of a sealed suite in its canonical form; its ETag is its SHA-256."""
    caller.require_working_role()
    with sessions() as session:
        found = manifest_file(session, _registered(session, name, version))
    if found is None:
        raise not_found("manifest of the suite", f"{name}@{version}")
    etag = f'"{found.sha256}"'
    if is_named(etag, if_none_match):
        return Response(status_code=304, headers={"ETag": etag})
    file = ArtifactFile(MANIFEST_FILE, found.sha256, found.size_bytes)
    return send_file(parts, file, range_header=range_, headers={"ETag": etag})


def _registered(session: Session, name: str, version: str) -> SuiteRow:
    row = suite_versioned(session, name, version)
    if row is None:
        raise not_found("suite", f"{name}@{version}")
    return row
