"""Liveness, readiness and metrics of the server."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final, Literal

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError

from app.api.fields import Out
from app.db.clock import Clock
from app.db.schema import schema_revision
from app.domain.errors import RegistryError, UnavailableError
from app.http.deps import BlobsDep, PartsDep, SessionsDep
from app.http.metrics import exposition

router = APIRouter(tags=["health"])

State = Literal["ok", "failing"]

_LARGEST_SKEW: Final = timedelta(seconds=2)


class LivenessOut(Out):
    status: Literal["ok"]


class ReadinessOut(Out):
    server: State = Field(
        description="Failing once the server is stopping: send it no further requests."
    )
    database: State
    storage: State
    storage_problem: str | None = Field(
        default=None, description="What the store lacks for the registry; absent if nothing."
    )
    migrations: State
    clock: State = Field(
        description="Failing above two seconds: the store's presigned URLs use this clock."
    )
    clock_ahead_ms: int | None = Field(
        description="By how much this server's clock is ahead of the database's; null if unknown."
    )


@router.get("/healthz")
async def healthz() -> LivenessOut:
    """Respond while the process runs, independent of the database and the object store."""
    return LivenessOut(status="ok")


@router.get("/readyz", responses={503: {"model": ReadinessOut}}, response_model_exclude_unset=True)
def readyz(
    response: Response, parts: PartsDep, sessions: SessionsDep, blobs: BlobsDep
) -> ReadinessOut:
    """Report the state of each dependency; 503 unless all are ok."""

    def database() -> bool:
        with sessions() as session:
            schema_revision(session)
        return True

    def migrations() -> bool:
        with sessions() as session:
            return schema_revision(session) == parts.expected_revision

    problems: list[str] = []

    def storage() -> bool:
        try:
            blobs.check()
        except UnavailableError as error:
            if "lacking" in error.members:
                problems.append(error.detail)
            raise
        return True

    def clock() -> bool:
        parts.clock.measure(sessions)
        return abs(parts.clock.ahead()) <= _LARGEST_SKEW

    found = ReadinessOut(
        server="failing" if parts.shutdown.begun else "ok",
        database=_state(database),
        storage=_state(storage),
        migrations=_state(migrations),
        clock=_state(clock),
        clock_ahead_ms=_ahead_ms(parts.clock),
    )
    if problems:
        found = found.model_copy(update={"storage_problem": problems[0]})
    if "failing" in (found.server, found.database, found.storage, found.migrations, found.clock):
        response.status_code = 503
    return found


def _ahead_ms(clock: Clock) -> int | None:
    return round(clock.ahead() / timedelta(milliseconds=1)) if clock.is_measured else None


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format."}},
)
def metrics() -> Response:
    """Return the server's metrics for Prometheus."""
    return Response(exposition(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _state(check: Callable[[], bool]) -> State:
    try:
        return "ok" if check() else "failing"
    except (SQLAlchemyError, RegistryError):
        return "failing"
