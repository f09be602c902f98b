"""Versions over HTTP: pushing one, reading them, revoking one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field, ValidationError
from sqlalchemy.orm import Session

from app.api.fields import (
    Digest,
    In,
    JsonObject,
    Label,
    Line,
    Number,
    Out,
    PageOut,
    PageQuery,
    PrefixPath,
    Reason,
    Text,
)
from app.api.multipart import received_parts
from app.api.problems import invalid_request, refuses
from app.db.channels import channels_serving
from app.db.models import Version
from app.db.versions import versions_page
from app.deps import BlobsDep, Caller, LimitsDep, Now, SessionsDep
from app.domain.errors import (
    ForbiddenError,
    InvalidArtifactError,
    NotFoundError,
    TooLargeError,
    UnknownBaseModelError,
    UnsupportedMediaTypeError,
    VersionRevokedError,
)
from app.services import revocations, versions
from app.services.sight import seen_prefix, seen_version
from app.services.versions import ReceivedFile

router = APIRouter(prefix="/prefixes/{namespace}/{name}/versions", tags=["versions"])


class DatasetIn(In):
    name: Line
    digest: Digest | None = None


class CardIn(In):
    """What the author declares; a policy may demand any of it."""

    intended_purpose: Text | None = None
    uses: list[Label] = Field(default_factory=list, max_length=32)
    personal_data: Text | None = None
    training_data: list[DatasetIn] = Field(default_factory=list, max_length=64)
    licence: Line | None = None
    known_limits: Text | None = None


class VersionIn(In):
    base_model: Digest
    card: CardIn = Field(default_factory=CardIn)
    lineage: JsonObject = Field(
        default_factory=dict, description="Run, commit, hyperparameters, library versions."
    )


class FileOut(Out):
    name: str
    sha256: str
    size_bytes: int


class TensorOut(Out):
    peft_type: str
    virtual_tokens: int
    layers: int
    kv_heads: int
    head_dim: int
    dtype: str
    parameters: int
    parameter_fraction: float
    key_norms: list[float] = Field(description="L2 norm of the keys, a number per layer.")
    value_norms: list[float] = Field(description="L2 norm of the values, a number per layer.")
    remarks: list[str] = Field(description="What is odd about it but works.")


class RevokedOut(Out):
    reason: str
    at: datetime
    by: str


class VersionOut(Out):
    prefix: str
    number: int
    digest: str
    revision: str
    base_model: str
    files: list[FileOut]
    tensor: TensorOut
    card: dict[str, Any]
    lineage: dict[str, Any]
    channels: list[str] = Field(description="The channels that serve it now.")
    revoked: RevokedOut | None
    created_at: datetime
    created_by: str


class RevocationIn(In):
    reason: Reason


_VERSION_PARTS: Final = {
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
    }
}


async def _parts(request: Request, _caller: Caller, limits: LimitsDep) -> Any:  # noqa: ANN401
    """Receive the three parts, after the caller is known."""
    sizes = {
        "version": limits.metadata_bytes,
        "config": limits.config_bytes,
        "weights": limits.weights_bytes,
    }
    async with received_parts(request, sizes) as parts:
        yield parts


Parts = Annotated[dict[str, ReceivedFile], Depends(_parts)]


@router.post(
    "",
    status_code=201,
    openapi_extra={"requestBody": {"required": True, "content": _VERSION_PARTS}},
    responses=refuses(
        ForbiddenError,
        NotFoundError,
        TooLargeError,
        UnsupportedMediaTypeError,
        UnknownBaseModelError,
        InvalidArtifactError,
    ),
)
def push_version(
    prefix: PrefixPath,
    parts: Parts,
    response: Response,
    sessions: SessionsDep,
    blobs: BlobsDep,
    caller: Caller,
    now: Now,
) -> VersionOut:
    """Push an artifact in one multipart request; the same content again answers 200."""
    described = _version_in(parts["version"])
    pushed = versions.Push(
        base_model=described.base_model,
        config=parts["config"],
        weights=parts["weights"],
        card=described.card.model_dump(mode="json", exclude_none=True),
        lineage=described.lineage,
    )
    row, new = versions.push(sessions, blobs, prefix=prefix, pushed=pushed, caller=caller, now=now)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/prefixes/{prefix}/versions/{row.number}"
    with sessions() as session:
        return version_outs(session, [row])[0]


def _version_in(part: ReceivedFile) -> VersionIn:
    try:
        return VersionIn.model_validate_json(part.content.read())
    except ValidationError as error:
        raise invalid_request(error.errors()) from error


@router.get("", responses=refuses(NotFoundError))
def list_versions(
    prefix: PrefixPath, sessions: SessionsDep, caller: Caller, page: PageQuery
) -> PageOut[VersionOut]:
    """List the versions that you may see, latest first."""
    with sessions() as session:
        seen_prefix(session, caller, prefix)
        released_to = None if caller.sees_everything(prefix.namespace) else caller
        found = versions_page(session, prefix, page, released_to=released_to)
        items = version_outs(session, found.items)
    return PageOut(items=items, next=found.next)


@router.get("/{number}", responses=refuses(NotFoundError))
def version(
    prefix: PrefixPath, number: Number, sessions: SessionsDep, caller: Caller
) -> VersionOut:
    with sessions() as session:
        return version_outs(session, [seen_version(session, caller, prefix, number)])[0]


@router.post(
    "/{number}/revoke", responses=refuses(ForbiddenError, NotFoundError, VersionRevokedError)
)
def revoke_version(
    prefix: PrefixPath,
    number: Number,
    body: RevocationIn,
    sessions: SessionsDep,
    caller: Caller,
    now: Now,
) -> VersionOut:
    """Revoke a version everywhere and for good; channels that serve it move at once."""
    row = revocations.revoke(
        sessions, prefix=prefix, number=number, reason=body.reason, caller=caller, now=now
    )
    with sessions() as session:
        return version_outs(session, [row])[0]


def version_outs(session: Session, found: Sequence[Version]) -> list[VersionOut]:
    serving = channels_serving(session, [version.id for version in found])
    return [_out(version, serving.get(version.id, [])) for version in found]


def _out(version: Version, channels: list[str]) -> VersionOut:
    revocation = version.revocation
    return VersionOut(
        prefix=str(version.prefix.full_name),
        number=version.number,
        digest=version.digest,
        revision=version.revision,
        base_model=version.base_model.digest,
        files=[FileOut.model_validate(file) for file in version.files],
        tensor=_tensor(version),
        card=version.card,
        lineage=version.lineage,
        channels=channels,
        revoked=None
        if revocation is None
        else RevokedOut(
            reason=revocation.reason,
            at=revocation.revoked_at,
            by=revocation.revoked_by.name,
        ),
        created_at=version.created_at,
        created_by=version.created_by.name,
    )


def _tensor(version: Version) -> TensorOut:
    geometry = version.base_model.geometry
    return TensorOut(
        peft_type=version.peft_type,
        virtual_tokens=version.virtual_tokens,
        layers=geometry.layers,
        kv_heads=geometry.kv_heads,
        head_dim=geometry.head_dim,
        dtype=version.dtype,
        parameters=version.parameters,
        parameter_fraction=version.parameter_fraction,
        key_norms=version.key_norms,
        value_norms=version.value_norms,
        remarks=version.remarks,
    )
