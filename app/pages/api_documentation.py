"""The page at /docs, which shows the OpenAPI document with Swagger UI from this server alone."""

from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response

from app.pages.rendering import STATIC, standalone

PATH: Final = "/docs"
_SCRIPT: Final = "vendor/swagger-ui-bundle.js"
_STYLE: Final = "vendor/swagger-ui.css"
# The page shares its origin with the sessions of /admin, so it runs only files of this server.
# Swagger UI has its icons as `data:` images in its style sheet.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def install(app: FastAPI, *, document: str) -> None:
    """Serve the page; `document` is the path of the OpenAPI document."""

    async def show(_request: Request) -> Response:
        return HTMLResponse(_page(document), headers=_HEADERS)

    app.add_route(PATH, show, include_in_schema=False)


def _page(document: str) -> str:
    return standalone(
        "api.html",
        document=document,
        script=_SCRIPT,
        style=_STYLE,
        installed=all((STATIC / path).is_file() for path in (_SCRIPT, _STYLE)),
    )
