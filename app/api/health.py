"""Liveness, readiness and metrics of the server."""

from datetime import timedelta
from typing import Any, Final, Literal

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import Field

from app.api.fields import Out
from app.db.clock import Clock
from app.http.deps import PartsDep
from app.http.metrics import exposition
from app.services.readiness import DatabaseState, LatestResult, StoreState

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
    database_age_ms: int | None = Field(
        description="The age of the state of the database, migrations and clock; null if unknown."
    )
    storage_age_ms: int | None = Field(
        description="The age of the state of the store; null if unknown."
    )


@router.get("/healthz")
async def healthz() -> LivenessOut:
    """Respond while the process runs, independent of the database and the object store."""
    return LivenessOut(status="ok")


@router.get("/readyz", responses={503: {"model": ReadinessOut}}, response_model_exclude_unset=True)
async def readyz(response: Response, parts: PartsDep) -> ReadinessOut:
    """Report the last known state of each dependency; 503 unless all are ok.

    Probes in the background find out, so the response waits for nothing. A state that is too old
    counts as failing.
    """
    database, store = parts.readiness.database, parts.readiness.store
    found_database = database.current or DatabaseState(is_available=False)
    found_store = store.current or StoreState(problem="unknown")
    states = {
        "server": not parts.shutdown.begun,
        "database": found_database.is_available,
        "storage": found_store.problem is None,
        "migrations": found_database.revision == parts.expected_revision,
        "clock": parts.clock.is_measured and abs(parts.clock.ahead()) <= _LARGEST_SKEW,
    }
    found: dict[str, Any] = {name: "ok" if ok else "failing" for name, ok in states.items()}
    if found_store.is_unsuitable:
        found["storage_problem"] = found_store.problem
    if not all(states.values()):
        response.status_code = 503
    return ReadinessOut(
        **found,
        clock_ahead_ms=_ahead_ms(parts.clock),
        database_age_ms=_age_ms(database),
        storage_age_ms=_age_ms(store),
    )


def _age_ms(latest: LatestResult[Any]) -> int | None:
    return None if latest.age_s is None else round(1000 * latest.age_s)


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
