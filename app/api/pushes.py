"""Pushing a version over HTTP: in one multipart request, or from earlier direct uploads."""

from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from app.api.fields import Digest, In, JsonObject, Label, Line, Text
from app.api.versions import VersionOut, version_outs
from app.domain.artifacts.quotas import Stored
from app.domain.errors import (
    ForbiddenError,
    InvalidArtifactError,
    NotFoundError,
    QuotaExceededError,
    TooLargeError,
    UnknownBaseModelError,
    UnsupportedMediaTypeError,
    UploadIncompleteError,
)
from app.domain.identity.access import Role
from app.http.bodies import media_type, parsed, small_body
from app.http.deps import (
    BlobsDep,
    Caller,
    LimitsDep,
    PrefixPath,
    QuotaDep,
    StagingDep,
    TransactionsDep,
)
from app.http.multipart import parsed_part, received_parts
from app.http.problems import refuses, returns_existing
from app.http.role_checks import needs, needs_room
from app.services.artifacts import uploads, versions
from app.services.artifacts.quotas import require_room
from app.services.artifacts.spooled_files import ReceivedFile

router = APIRouter(prefix="/prefixes/{namespace}/{name}/versions", tags=["versions"])


class DatasetIn(In):
    name: Line
    digest: Digest | None = None


class CardIn(In):
    """The author's declarations; a policy may demand any of them."""

    intended_purpose: Text | None = None
    uses: list[Label] = Field(default_factory=list, max_length=32)
    personal_data: Text | None = None
    training_data: list[DatasetIn] = Field(default_factory=list, max_length=64)
    licence: Line | None = None
    known_limits: Text | None = None


class VersionIn(In):
    """Describes the artifact, in the part `version` of a multipart push."""

    base_model: Digest
    card: CardIn = Field(default_factory=CardIn)
    lineage: JsonObject = Field(
        default_factory=dict, description="Run, commit, hyperparameters, library versions."
    )


class UploadsIn(In):
    config: UUID
    weights: UUID


class UploadedVersionIn(VersionIn):
    """Describes an artifact whose files are already in the object store."""

    uploads: UploadsIn


Described = tuple[VersionIn, dict[str, ReceivedFile]]

_CONTENT: Final = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["version", "config", "weights"],
            "properties": {
                "version": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "description": "JSON: base_model (digest), card, lineage.",
                },
                "config": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "description": "adapter_config.json, byte for byte.",
                },
                "weights": {
                    "type": "string",
                    "contentMediaType": "application/octet-stream",
                    "description": "adapter_model.safetensors, byte for byte.",
                },
            },
        }
    },
    "application/json": {"schema": {"$ref": "#/components/schemas/UploadedVersionIn"}},
}


async def _described(
    request: Request, _caller: Caller, limits: LimitsDep
) -> AsyncIterator[Described]:
    """Read a push, as multipart or as JSON, after authenticating the caller."""
    if media_type(request) == "application/json":
        body = await small_body(request, limit_bytes=limits.metadata_bytes)
        yield await run_in_threadpool(parsed, UploadedVersionIn, body), {}
        return
    sizes = {
        "version": limits.metadata_bytes,
        "config": limits.config_bytes,
        "weights": limits.weights_bytes,
    }
    async with received_parts(request, sizes) as parts:
        yield await run_in_threadpool(parsed_part, VersionIn, parts, "version"), parts


@router.post(
    "",
    status_code=201,
    dependencies=[needs(Role.PUBLISHER), needs_room()],
    openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
    responses={
        **returns_existing(VersionOut),
        **refuses(
            ForbiddenError,
            NotFoundError,
            QuotaExceededError,
            UploadIncompleteError,
            TooLargeError,
            UnsupportedMediaTypeError,
            UnknownBaseModelError,
            InvalidArtifactError,
        ),
    },
)
def push_version(
    prefix: PrefixPath,
    described: Annotated[Described, Depends(_described)],
    response: Response,
    transactions: TransactionsDep,
    blobs: BlobsDep,
    staging: StagingDep,
    quota: QuotaDep,
) -> VersionOut:
    """Push a version, as multipart or by uploads. Repeating the same content returns 200."""
    description, files = described
    with ExitStack() as stack:
        if isinstance(description, UploadedVersionIn):
            found = {
                part: uploads.announced(transactions, prefix=prefix, upload_id=upload_id)
                for part, upload_id in description.uploads
            }
            added = Stored(sum(upload.size_bytes for upload in found.values()), versions=1)
            require_room(transactions, prefix.namespace, added, quota)
            for part, upload in found.items():
                files[part] = stack.enter_context(uploads.received(staging, upload))
        pushed = versions.Push(
            base_model=description.base_model,
            config=files["config"],
            weights=files["weights"],
            card=description.card.model_dump(mode="json", exclude_none=True),
            lineage=description.lineage,
        )
        row, new = versions.push(transactions, blobs, prefix=prefix, pushed=pushed, quota=quota)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/prefixes/{prefix}/versions/{row.number}"
    with transactions.read() as session:
        return version_outs(session, transactions.caller, [row])[0]
