"""Quotas of namespaces over HTTP."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Response
from pydantic import Field, StrictInt

from app.api.fields import In, Out
from app.db.quotas import quota_of
from app.domain.artifacts.quotas import (
    MOST_BYTES,
    MOST_REQUESTS,
    MOST_VERSIONS,
    NamespaceQuota,
    OwnLimits,
)
from app.domain.delivery.conditional_requests import Precondition
from app.domain.errors import ForbiddenError, NotFoundError, PreconditionFailedError
from app.domain.identity.access import Role
from app.http.bodies import JsonBody
from app.http.deps import NamespacePath, Parts, PartsDep, SessionsDep, TransactionsDep
from app.http.problems import refuses
from app.http.role_checks import needs_everywhere, needs_work_in
from app.services.artifacts import quotas

router = APIRouter(prefix="/namespaces/{namespace}", tags=["namespaces"])

_TAGGED: Final = {
    "headers": {
        "ETag": {
            "description": "Changes with the limits, not with the use; send it as If-Match.",
            "schema": {"type": "string"},
        }
    }
}


async def _precondition(
    if_match: Annotated[
        str | None, Header(description="Change the limits only if this is their ETag.")
    ] = None,
) -> Precondition:
    return Precondition(if_match)


Expected = Annotated[Precondition, Depends(_precondition)]


class QuotaIn(In):
    """All limits of a namespace; null leaves one to the settings of the server."""

    stored_bytes: Annotated[StrictInt, Field(ge=1, le=MOST_BYTES)] | None
    versions: Annotated[StrictInt, Field(ge=1, le=MOST_VERSIONS)] | None
    requests: Annotated[StrictInt, Field(ge=1, le=MOST_REQUESTS)] | None

    def limits(self) -> OwnLimits:
        return OwnLimits(self.stored_bytes, self.versions, self.requests)


class UseOut(Out):
    used: int
    limit: int
    is_default: bool = Field(description="Whether the limit comes from the settings.")


class QuotaOut(Out):
    namespace: str
    stored_bytes: UseOut = Field(description="Files of all versions and of their evaluations.")
    versions: UseOut = Field(description="Versions of all prefixes, including revoked ones.")
    requests: UseOut = Field(description="Requests in progress in the process that answers.")


@router.get(
    "/quota",
    dependencies=[needs_work_in()],
    responses={200: _TAGGED, **refuses(NotFoundError)},
)
def namespace_quota(
    namespace: NamespacePath, response: Response, sessions: SessionsDep, parts: PartsDep
) -> QuotaOut:
    """Return the limits of a namespace and its use of them."""
    with sessions() as session:
        found = quota_of(session, namespace)
    response.headers["ETag"] = quotas.quota_tag(found)
    return _out(found, parts)


@router.put(
    "/quota",
    dependencies=[needs_everywhere(Role.ADMIN)],
    responses={200: _TAGGED, **refuses(ForbiddenError, NotFoundError, PreconditionFailedError)},
)
def set_namespace_quota(
    namespace: NamespacePath,
    body: JsonBody[QuotaIn],
    expected: Expected,
    response: Response,
    transactions: TransactionsDep,
    parts: PartsDep,
) -> QuotaOut:
    """Replace the limits of a namespace. Below its use they refuse additions and remove nothing."""
    limits = body.limits()
    found = quotas.set_limits(
        transactions, namespace=namespace, limits=limits, precondition=expected
    )
    parts.in_flight.set_own_limit(namespace, limits.requests)
    response.headers["ETag"] = quotas.quota_tag(found)
    return _out(found, parts)


def _out(quota: NamespaceQuota, parts: Parts) -> QuotaOut:
    own, limits = quota.own, quota.own.over(parts.quota)
    return QuotaOut(
        namespace=quota.namespace,
        stored_bytes=UseOut(
            used=quota.used.stored_bytes,
            limit=limits.stored_bytes,
            is_default=own.stored_bytes is None,
        ),
        versions=UseOut(
            used=quota.used.versions, limit=limits.versions, is_default=own.versions is None
        ),
        requests=UseOut(
            used=parts.in_flight.in_namespace(quota.namespace),
            limit=limits.requests,
            is_default=own.requests is None,
        ),
    )
