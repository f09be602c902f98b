"""Rendering of templates in one environment, which escapes every value."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app import __version__
from app.domain.identity.access import EVERYWHERE, Role
from app.pages.presentation import formatting
from app.pages.presentation.heatmap import demand_words
from app.services.identity.web_sessions import PageVisit

_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"
_LIBRARIES: Final = {
    "pico": "vendor/pico.min.css",
    "htmx": "vendor/htmx.min.js",
    "uplot": "vendor/uPlot.iife.min.js",
    "uplot_style": "vendor/uPlot.min.css",
}

_ROLES: Final = (Role.ADMIN, Role.APPROVER, Role.PUBLISHER, Role.EVALUATOR, Role.READER)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        utc=formatting.utc,
        relative=formatting.relative,
        span=formatting.span,
        size=formatting.size,
        percent=formatting.percent,
        short=formatting.short,
        number=formatting.number,
        count=formatting.count,
        counted=formatting.counted,
        listed=formatting.listed,
        pretty=lambda value: json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True),
    )
    environment.globals.update(
        asset=_asset, libraries=_libraries(), release=__version__, demand_words=demand_words
    )
    return environment


def _libraries() -> Mapping[str, str]:
    """Return the installed libraries by name; pages work without the others."""
    return {name: path for name, path in _LIBRARIES.items() if (STATIC / path).is_file()}


@cache
def _asset(path: str) -> str:
    """Return the URL of a static file; it contains the file's hash."""
    digest = hashlib.sha256((STATIC / path).read_bytes()).hexdigest()
    return f"/admin/static/{path}?v={digest[:12]}"


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    visit: PageVisit | None = None,
    **values: object,
) -> HTMLResponse:
    """Render a template; it also gets the visit and, as `here`, the page's own path."""
    common = {
        "visit": visit,
        "sections": _visible_sections(visit),
        "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "origin": origin_of(request),
        "refusal": None,
        "notice": None,
        "serves_docs": request.app.state.serves_docs,
    }
    return HTMLResponse(_environment().get_template(template).render(common | values), status)


def standalone(template: str, **values: object) -> str:
    """Render a template that has neither a visit nor the layout of the pages."""
    return _environment().get_template(template).render(values)


def _visible_sections(visit: PageVisit | None) -> frozenset[str]:
    """Return the sections of the pages that the caller's grants open."""
    if visit is None:
        return frozenset()
    held = {role for grant in visit.caller.grants for role in visit.caller.roles(grant.namespace)}
    sections = {"registry"} if held.intersection(_ROLES) else set()
    if held.intersection(_ROLES[:-1]):
        sections.add("work")
    if Role.AUDITOR in visit.caller.roles(EVERYWHERE):
        sections.add("audit")
    return frozenset(sections)


def origin_of(request: Request) -> str:
    """Return the origin of the API, as the browser reached it."""
    return str(request.base_url).rstrip("/").removesuffix("/admin")


def redirect(request: Request, path: str) -> Response:
    """Redirect the browser to `path` with GET; htmx reloads the whole page."""
    if "HX-Request" in request.headers and "HX-Target" not in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": path})
    return RedirectResponse(path, status_code=303)
