"""Versions over HTTP: reading and revoking them, and listing their pulls."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy.orm import Session

from app.api.fields import (
    In,
    Number,
    Out,
    PageOut,
    PageQuery,
    Reason,
)
from app.db.blobs import damaged_among
from app.db.channels import channels_serving, versions_by_break_glass
from app.db.models import Revocation, Version
from app.db.paging import PageRequest
from app.db.versions import versions_page
from app.domain.artifacts.prefix import context_share, kv_cache_bytes
from app.domain.artifacts.pulls import PullWay
from app.domain.errors import (
    ForbiddenError,
    NotFoundError,
    VersionRevokedError,
)
from app.domain.identity.access import PrincipalKind, Role
from app.http.bodies import JsonBody
from app.http.deps import Caller, PartsDep, PrefixPath, SessionsDep, TransactionsDep
from app.http.limits import urgent
from app.http.problems import refuses
from app.http.role_checks import needs
from app.services.artifacts import revocations
from app.services.artifacts.near_copies import visible_near_copies
from app.services.artifacts.pulls import list_pulls
from app.services.identity.visibility import visible_prefix, visible_version

router = APIRouter(prefix="/prefixes/{namespace}/{name}/versions", tags=["versions"])


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
    kv_cache_bytes: int = Field(description="Bytes added to a sequence's KV cache, at 16 bits.")
    context_share: float | None = Field(
        description="Virtual tokens divided by the size of the context window."
    )
    key_norms: list[float] = Field(description="L2 norm of the keys, one number per layer.")
    value_norms: list[float] = Field(description="L2 norm of the values, one number per layer.")
    remarks: list[str] = Field(description="Unusual properties that do not prevent its use.")


class RevokedOut(Out):
    reason: str
    at: datetime
    by: str | None = Field(description="Who revoked it; null if that was in another namespace.")


class VersionOut(Out):
    prefix: str
    number: int
    digest: str
    revision: str
    content: str = Field(
        description="The digest of its numbers; evidence and revocations are about it."
    )
    base_model: str
    files: list[FileOut]
    tensor: TensorOut
    card: dict[str, Any]
    lineage: dict[str, Any]
    channels: list[str] = Field(description="The channels that serve the version now.")
    damaged: list[str] = Field(description="Files whose stored bytes differ from those pushed.")
    break_glass: bool = Field(description="Whether break-glass ever put it on a channel.")
    revoked: RevokedOut | None
    created_at: datetime
    created_by: str


class RevocationIn(In):
    reason: Reason


@router.get("", responses=refuses(NotFoundError))
def list_versions(
    prefix: PrefixPath, sessions: SessionsDep, caller: Caller, page: PageQuery
) -> PageOut[VersionOut]:
    """List the versions visible to you, latest first."""
    with sessions() as session:
        visible_prefix(session, caller, prefix)
        released_to = None if caller.can_see_unreleased(prefix.namespace) else caller
        found = versions_page(session, prefix, page, released_to=released_to)
        items = version_outs(session, caller, found.items)
    return PageOut(items=items, next=found.next)


@router.get("/{number}", responses=refuses(NotFoundError))
def version(
    prefix: PrefixPath, number: Number, sessions: SessionsDep, caller: Caller
) -> VersionOut:
    with sessions() as session:
        found = visible_version(session, caller, prefix, number)
        return version_outs(session, caller, [found])[0]


@router.post(
    "/{number}/revoke",
    dependencies=[needs(Role.APPROVER)],
    responses=refuses(ForbiddenError, NotFoundError, VersionRevokedError),
)
@urgent
def revoke_version(
    prefix: PrefixPath,
    number: Number,
    body: JsonBody[RevocationIn],
    transactions: TransactionsDep,
) -> VersionOut:
    """Revoke a version everywhere and permanently. Channels stop serving it at once."""
    row = revocations.revoke(transactions, prefix=prefix, number=number, reason=body.reason)
    with transactions.read() as session:
        return version_outs(session, transactions.caller, [row])[0]


def version_outs(session: Session, caller: Caller, found: Sequence[Version]) -> list[VersionOut]:
    """Return versions as far as they are visible to the caller, with three queries in total."""
    ids = [version.id for version in found]
    serving, damaged = channels_serving(session, ids), damaged_among(session, ids)
    by_break_glass = versions_by_break_glass(session, ids)
    return [
        _out(
            version,
            caller,
            serving.get(version.id, []),
            damaged.get(version.id, []),
            break_glass=version.id in by_break_glass,
        )
        for version in found
    ]


def _out(
    version: Version,
    caller: Caller,
    channels: list[str],
    damaged: list[str],
    *,
    break_glass: bool,
) -> VersionOut:
    revocation = version.revocation
    return VersionOut(
        prefix=str(version.prefix.full_name),
        number=version.number,
        digest=version.digest,
        revision=version.revision,
        content=version.content,
        base_model=version.base_model.digest,
        files=[FileOut.model_validate(file) for file in version.files],
        tensor=_tensor(version),
        card=version.card,
        lineage=version.lineage,
        channels=[name for name in channels if caller.can_see_channel(name)],
        damaged=damaged,
        break_glass=break_glass,
        revoked=None if revocation is None else _revoked(version, revocation),
        created_at=version.created_at,
        created_by=version.created_by.name,
    )


def _revoked(version: Version, revocation: Revocation) -> RevokedOut:
    namespace = version.prefix.namespace
    return RevokedOut(
        reason=revocation.reason_in(namespace),
        at=revocation.revoked_at,
        by=revocation.revoked_by.name if revocation.namespace == namespace else None,
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
        kv_cache_bytes=kv_cache_bytes(version.parameters),
        context_share=context_share(version.virtual_tokens, geometry),
        key_norms=version.key_norms,
        value_norms=version.value_norms,
        remarks=version.remarks,
    )


class PullOut(Out):
    principal: str
    kind: PrincipalKind
    way: PullWay = Field(description="`resolve` returned URLs; `download` sent the bytes.")
    times: int
    first_at: datetime
    last_at: datetime


@router.get("/{number}/pulls", responses=refuses(ForbiddenError, NotFoundError))
def version_pulls(
    prefix: PrefixPath, number: Number, parts: PartsDep, caller: Caller, page: PageQuery
) -> PageOut[PullOut]:
    """List the principals that pulled the version and how often, latest first."""
    found = list_pulls(
        parts.sessions, parts.pulls, prefix=prefix, number=number, request=page, caller=caller
    )
    items = [
        PullOut(
            principal=row.principal.name,
            kind=row.principal.kind,
            way=row.way,
            times=row.times,
            first_at=row.first_at,
            last_at=row.last_at,
        )
        for row in found.items
    ]
    return PageOut(items=items, next=found.next)


class NearCopyOut(Out):
    prefix: str
    number: int
    content: str
    distance: float = Field(
        description="Estimated norm of the difference, divided by the larger norm of the two."
    )
    revoked: bool


class NearContentsOut(Out):
    visible: int = Field(description="Near contents of which a version is visible to you.")
    hidden: int = Field(description="Near contents of which no version is visible to you.")


@router.get("/{number}/near-copies", responses=refuses(NotFoundError))
def version_near_copies(
    prefix: PrefixPath, number: Number, sessions: SessionsDep, caller: Caller, page: PageQuery
) -> PageOut[NearCopyOut]:
    """List the versions whose numbers differ from this version's by about 1 % or less.

    They have another content, the same base model and as many virtual tokens. Those visible to you
    are listed, latest first. Of more than 1,000 near contents the nearest are considered.
    """
    with sessions() as session:
        version = visible_version(session, caller, prefix, number)
        found = visible_near_copies(session, caller, version, page)
        items = [
            NearCopyOut(
                prefix=str(row.prefix.full_name),
                number=row.number,
                content=row.content,
                distance=found.distances[row.content],
                revoked=row.revocation is not None,
            )
            for row in found.versions.items
        ]
    return PageOut(items=items, next=found.versions.next)


@router.get("/{number}/near-copies/totals", responses=refuses(NotFoundError))
def count_near_copies(
    prefix: PrefixPath, number: Number, sessions: SessionsDep, caller: Caller
) -> NearContentsOut:
    """Count the contents near the version's, in all namespaces, at most the 1,000 nearest."""
    with sessions() as session:
        version = visible_version(session, caller, prefix, number)
        found = visible_near_copies(session, caller, version, PageRequest(1))
    return NearContentsOut(visible=len(found.distances) - found.hidden, hidden=found.hidden)
