"""The bytes of a version over HTTP."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from app.api.fields import Number
from app.domain.delivery.conditional_requests import is_named
from app.domain.errors import (
    DamagedObjectError,
    NotFoundError,
    RangeNotSatisfiableError,
    VersionRevokedError,
)
from app.domain.identity.access import not_found
from app.http.deps import Caller, Now, PartsDep, PrefixPath, SessionsDep
from app.http.downloads import note_download, send_file
from app.http.problems import refuses
from app.http.transfers import sends_version
from app.services.evidence.evaluations import visible_file
from app.services.governance.execution import require_not_revoked
from app.services.identity.visibility import visible_version

router = APIRouter(prefix="/prefixes/{namespace}/{name}/versions", tags=["versions"])


@router.get(
    "/{number}/files/{file}",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        206: {"content": {"application/octet-stream": {}}, "description": "A part of the file."},
        304: {"description": "The client already has these bytes."},
        307: {"description": "A short-lived URL of the object store that needs no token."},
        **refuses(NotFoundError, VersionRevokedError, RangeNotSatisfiableError, DamagedObjectError),
    },
)
def download_file(
    request: Request,
    prefix: PrefixPath,
    number: Number,
    file: str,
    sessions: SessionsDep,
    parts: PartsDep,
    caller: Caller,
    now: Now,
    range_: Annotated[str | None, Header(alias="Range")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
    via: Annotated[
        Literal["registry", "storage"],
        Query(description="`storage` redirects to the object store; check the digest yourself."),
    ] = "registry",
) -> Response:
    """Download a file; its ETag is its SHA-256. A transfer of damaged bytes is aborted."""
    with sessions() as session:
        version = visible_version(session, caller, prefix, number)
    require_not_revoked(version)
    found = next((known for known in version.files if known.name == file), None)
    if found is None:
        raise not_found(f"file of version {number}", file[:80])
    etag = f'"{found.sha256}"'
    if is_named(etag, if_none_match):
        return Response(status_code=304, headers={"ETag": etag})
    note_download(parts, version, found, caller, range_, now)
    sends_version(request.scope, version)
    if via == "storage":
        lifetime_s = parts.limits.presigned_lifetime_s
        url = parts.blobs.presigned_url(found.sha256, file_name=found.name, lifetime_s=lifetime_s)
        return RedirectResponse(url, status_code=307, headers={"ETag": etag})
    return send_file(parts, found, range_header=range_, headers={"ETag": etag})


evidence_router = APIRouter(tags=["evidence"])


@evidence_router.get(
    "/evaluations/{evaluation_id}/files/{file}",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        206: {"content": {"application/octet-stream": {}}, "description": "A part of the file."},
        304: {"description": "The client already has these bytes."},
        **refuses(NotFoundError, RangeNotSatisfiableError, DamagedObjectError),
    },
)
def download_evidence(
    request: Request,
    evaluation_id: UUID,
    file: str,
    sessions: SessionsDep,
    parts: PartsDep,
    caller: Caller,
    range_: Annotated[str | None, Header(alias="Range")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Download a file of an evaluation; its ETag is its SHA-256.

    Only callers who can see everything in the namespace may: a model's outputs can be private.
    """
    with sessions() as session:
        found, version = visible_file(
            session, evaluation_id=evaluation_id, name=file, caller=caller
        )
    if version is not None:  # the path does not name its namespace
        parts.in_flight.enter_namespace(request.scope, version.prefix.namespace)
    etag = f'"{found.sha256}"'
    if if_none_match is not None and etag in if_none_match:
        return Response(status_code=304, headers={"ETag": etag})
    return send_file(parts, found, range_header=range_, headers={"ETag": etag})
