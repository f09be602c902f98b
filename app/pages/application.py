"""The pages as one application, mounted at /admin: wiring, no logic."""

from typing import Final

from fastapi import Depends, FastAPI
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.http.deps import Parts
from app.pages import (
    audit,
    base_models,
    error_pages,
    gates,
    overview,
    policies,
    prefixes,
    promotion_actions,
    promotions,
    pulls,
    review_queue,
    versions,
)
from app.pages.inputs import require_single_fields
from app.pages.login import oidc_login, token_login
from app.pages.rendering import STATIC
from app.pages.security_headers import SecurityHeadersMiddleware

_ROUTERS = (
    token_login.router,
    token_login.sign_out_router,
    oidc_login.router,
    overview.router,
    review_queue.router,
    promotions.router,
    promotion_actions.router,
    gates.router,
    versions.router,
    pulls.router,
    prefixes.router,
    policies.router,
    base_models.router,
    audit.router,
)

# Compressing the script of /docs takes 60 ms, on the event loop; browsers keep static files anyway.
_UNCOMPRESSED: Final = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "text/css", "text/javascript")


class _ImmutableFiles(StaticFiles):
    """Static files whose URL contains their hash, so that browsers may cache them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def pages_of(parts: Parts, *, serves_docs: bool = True) -> SecurityHeadersMiddleware:
    """Return the pages over `parts`; every response has the security headers, failures included.

    They link to `/docs` if the server has that page.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.parts = parts
    app.state.serves_docs = serves_docs
    app.add_middleware(GZipMiddleware, minimum_size=1024, exclude_content_types=_UNCOMPRESSED)
    app.mount("/static", _ImmutableFiles(directory=STATIC), name="static")
    for router in _ROUTERS:
        app.include_router(router, dependencies=[Depends(require_single_fields)])
    app.add_api_route("/{path:path}", error_pages.page_not_found)
    error_pages.install(app)
    return SecurityHeadersMiddleware(app)
