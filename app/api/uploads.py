"""Direct uploads over HTTP: large files go to the object store, not through the registry."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from app.api.fields import Digest, In, Out
from app.domain.errors import ForbiddenError, NotFoundError, QuotaExceededError, TooLargeError
from app.domain.identity.access import Role
from app.http.bodies import JsonBody
from app.http.deps import LimitsDep, PrefixPath, QuotaDep, StagingDep, TransactionsDep
from app.http.problems import refuses
from app.http.role_checks import needs
from app.services.artifacts import uploads

router = APIRouter(prefix="/prefixes/{namespace}/{name}/uploads", tags=["versions"])


class UploadIn(In):
    sha256: Digest
    size_bytes: int = Field(ge=1, le=2**53)


class RequestOut(Out):
    """Send the bytes of this part with exactly these headers; no token is needed."""

    method: str
    url: str
    headers: dict[str, str]
    size_bytes: int


class UploadOut(Out):
    id: UUID
    sha256: str
    size_bytes: int
    requests: list[RequestOut] = Field(
        description="One request, or above 64 MiB one for each consecutive part of the file."
    )
    expires_at: datetime


@router.post(
    "",
    status_code=201,
    dependencies=[needs(Role.PUBLISHER)],
    responses=refuses(ForbiddenError, NotFoundError, QuotaExceededError, TooLargeError),
)
def begin_upload(
    prefix: PrefixPath,
    body: JsonBody[UploadIn],
    transactions: TransactionsDep,
    staging: StagingDep,
    limits: LimitsDep,
    quota: QuotaDep,
) -> UploadOut:
    """Announce a file. Send it with the returned requests, then push by the upload's id."""
    upload, requests = uploads.begin(
        transactions,
        staging,
        prefix=prefix,
        sha256=body.sha256,
        size_bytes=body.size_bytes,
        limit_bytes=limits.weights_bytes,
        quota=quota,
    )
    return UploadOut(
        id=upload.id,
        sha256=upload.sha256,
        size_bytes=upload.size_bytes,
        requests=[RequestOut.model_validate(request) for request in requests],
        expires_at=upload.expires_at,
    )
