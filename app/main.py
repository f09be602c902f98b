"""The application: wiring, no logic."""

from datetime import timedelta

from fastapi import Depends, FastAPI
from fastapi.responses import RedirectResponse
from starlette.types import Lifespan

from app import __version__
from app.api import (
    audit,
    base_models,
    channels,
    checkpoints,
    evaluation_imports,
    evaluations,
    files,
    gates,
    health,
    namespaces,
    openapi,
    plans,
    policies,
    prefixes,
    principals,
    promotions,
    pushes,
    resolve,
    reviews,
    suites,
    tokens,
    uploads,
    versions,
)
from app.background import running_background_tasks
from app.db.circuit_breaker import CircuitBreaker
from app.db.schema import REVISION
from app.db.session import engine_for, sessions_on
from app.http import problems
from app.http.body_timeouts import BodyTimeoutMiddleware
from app.http.deps import Parts
from app.http.idempotency_middleware import IdempotencyMiddleware
from app.http.limits import InFlight
from app.http.metrics import MetricsMiddleware
from app.http.query_parameters import require_declared_parameters
from app.http.request_middleware import RequestMiddleware
from app.http.shutdown import Shutdown
from app.http.transfers import TransferMiddleware
from app.hub import pull, push
from app.oidc.issuers import Issuers
from app.pages import api_documentation
from app.pages.application import pages_of
from app.services.identity.token_usage import TokenUsage
from app.settings import Settings
from app.storage.s3 import S3Blobs
from app.storage.s3_staging import S3Staging

# Routes are tried in this order, and each costs some microseconds, so the route that serving fleets
# call all the time comes first.
_ROUTERS = (
    resolve.router,
    base_models.router,
    prefixes.router,
    namespaces.router,
    uploads.router,
    pushes.router,
    versions.router,
    files.router,
    suites.router,
    evaluations.router,
    evaluation_imports.router,
    files.evidence_router,
    plans.router,
    policies.router,
    channels.router,
    gates.router,
    promotions.router,
    reviews.router,
    gates.decisions_router,
    audit.router,
    checkpoints.router,
    principals.router,
    tokens.router,
)


def create_app(settings: Settings) -> FastAPI:
    """Return the server for `settings`; it opens no connection before the first request."""
    engine = engine_for(settings.database_url, pool_size=settings.database_pool_size)
    breaker = CircuitBreaker()
    breaker.guard(engine)
    sessions = sessions_on(engine)
    parts = Parts(
        sessions=sessions,
        blobs=S3Blobs(settings.s3_account),
        staging=S3Staging(settings.s3_account),
        limits=settings.limits,
        expected_revision=REVISION,
        uses=TokenUsage(sessions),
        issuers=Issuers(settings.issuers),
        signer=settings.signer(),
        quota=settings.quota,
        in_flight=InFlight(
            settings.requests_per_principal,
            most_in_namespace=settings.requests_per_namespace,
        ),
        breaker=breaker,
        connections=settings.connections,
        shutdown=Shutdown(settings.unready_s),
        collect_interval=timedelta(seconds=settings.collect_interval_s),
    )
    return app_of(
        parts,
        lifespan=running_background_tasks,
        hsts_max_age_s=settings.hsts_max_age_s,
        serves_docs=settings.api_docs,
    )


def app_of(
    parts: Parts,
    *,
    lifespan: Lifespan[FastAPI] | None = None,
    hsts_max_age_s: int = 0,
    serves_docs: bool = True,
) -> FastAPI:
    """Return the server made of `parts`."""
    app = FastAPI(
        title="Prefix registry",
        summary="A governed registry for prefix-tuning artifacts.",
        version=__version__,
        # FastAPI's own pages load scripts of other hosts, and it renders the document each time.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.parts = parts
    # The middleware added last is the outermost.
    app.add_middleware(IdempotencyMiddleware)
    app.add_middleware(TransferMiddleware)
    app.add_middleware(BodyTimeoutMiddleware)
    app.add_middleware(RequestMiddleware, hsts_max_age_s=hsts_max_age_s)
    app.add_middleware(MetricsMiddleware)
    checked = [Depends(require_declared_parameters)]
    for router in _ROUTERS:
        app.include_router(router, prefix="/v1", dependencies=checked)
    app.include_router(health.router)
    openapi.install(app, is_served=serves_docs)
    if serves_docs:
        api_documentation.install(app, document=openapi.PATH)
    # Before the Hub dialect, whose paths may begin with any name.
    app.add_route("/admin", lambda _request: RedirectResponse("/admin/"), include_in_schema=False)
    app.mount("/admin", pages_of(parts, serves_docs=serves_docs), name="pages")
    app.include_router(push.router)
    app.include_router(pull.router)
    problems.install(app)
    return app
