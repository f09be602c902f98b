"""The application: wiring, no logic."""

from fastapi import APIRouter, FastAPI
from fastapi.responses import RedirectResponse

from app import __version__, problems
from app.api import (
    audit,
    base_models,
    channels,
    evaluations,
    files,
    gates,
    health,
    identity,
    openapi,
    policies,
    prefixes,
    promotions,
    pushes,
    resolve,
    suites,
    uploads,
    versions,
)
from app.db.schema import latest_revision
from app.db.session import engine_for, sessions_on
from app.deps import Parts
from app.hub import pull, push
from app.metrics import MeasuredApp
from app.pages.application import pages_of
from app.settings import Settings, settings_from_environment
from app.storage.s3 import S3Blobs
from app.storage.s3_staging import S3Staging

_ROUTERS = (
    base_models.router,
    prefixes.router,
    uploads.router,
    pushes.router,
    versions.router,
    files.router,
    suites.router,
    evaluations.router,
    policies.router,
    channels.router,
    gates.router,
    promotions.router,
    resolve.router,
    audit.router,
    identity.router,
)


def create_app(settings: Settings) -> FastAPI:
    """Return the server for `settings`; nothing is connected to before the first request."""
    engine = engine_for(settings.database_url, pool_size=settings.database_pool_size)
    parts = Parts(
        sessions=sessions_on(engine),
        blobs=S3Blobs(settings.s3_account),
        staging=S3Staging(settings.s3_account),
        limits=settings.limits,
        expected_revision=latest_revision(),
    )
    return app_of(parts)


def app_of(parts: Parts) -> FastAPI:
    """Return the server made of `parts`."""
    app = FastAPI(
        title="Prefix registry",
        summary="A governed registry for prefix-tuning artifacts.",
        version=__version__,
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.parts = parts
    app.add_middleware(MeasuredApp)
    v1 = APIRouter(prefix="/v1")
    for router in _ROUTERS:
        v1.include_router(router)
    app.include_router(v1)
    app.include_router(health.router)
    # Before the other dialect, whose paths begin with any name.
    app.add_route("/admin", lambda _request: RedirectResponse("/admin/"), include_in_schema=False)
    app.mount("/admin", pages_of(parts), name="pages")
    app.include_router(push.router)
    app.include_router(pull.router)
    problems.install(app)
    openapi.install(app)
    return app


def create_app_from_environment() -> FastAPI:
    """Return the server for the process's environment, as each worker of uvicorn calls it."""
    return create_app(settings_from_environment())
