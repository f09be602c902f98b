"""The pages as one application, to be mounted at /admin: wiring, no logic."""

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.deps import Parts
from app.pages import (
    audit,
    base_models,
    failures,
    federated,
    gates,
    overview,
    policies,
    prefixes,
    promotions,
    pulls,
    reviewing,
    reviews,
    signing_in,
    versions,
)
from app.pages.guard import GuardedPages
from app.pages.rendering import STATIC

_ROUTERS = (
    signing_in.router,
    federated.router,
    overview.router,
    reviews.router,
    promotions.router,
    reviewing.router,
    gates.router,
    versions.router,
    pulls.router,
    prefixes.router,
    policies.router,
    base_models.router,
    audit.router,
)


class _Files(StaticFiles):
    """Files whose address changes with their bytes, so that browsers may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def pages_of(parts: Parts) -> GuardedPages:
    """Return the pages over `parts`, guarded whatever becomes of a request."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.parts = parts
    app.add_middleware(GZipMiddleware, minimum_size=1024)
    app.mount("/static", _Files(directory=STATIC), name="static")
    for router in _ROUTERS:
        app.include_router(router)
    app.add_api_route("/{path:path}", failures.nowhere)
    failures.install(app)
    return GuardedPages(app)
