"""Query parameters: those that the endpoint knows, each once."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import iter_route_contexts

from app.domain.errors import Fault, InvalidRequestError
from app.http.deps import Caller


async def require_known_parameters(request: Request, _caller: Caller) -> None:
    """Refuse what would be ignored: `?chanel=staging` would be answered with `production`.

    Raises:
        InvalidRequestError: A parameter is unknown, or given more than once.
    """
    given = Counter(name for name, _ in request.query_params.multi_items())
    if not given:
        return
    known = _known(request.app)[request.scope["route"].endpoint]
    faults = [
        Fault("unknown-parameter", f"There is no parameter {name[:80]!r}{_instead(known)}.")
        for name in sorted(given.keys() - known.keys())
    ]
    faults += [
        Fault("repeated-parameter", f"The parameter {name} comes {given[name]} times.")
        for name in sorted(given.keys() & known.keys())
        if given[name] > 1 and not known[name]
    ]
    if faults:
        message = f"The query is refused for {len(faults)} parameter(s): {faults[0].message}"
        raise InvalidRequestError(message, faults)


def _instead(known: Mapping[str, bool]) -> str:
    return f"; send any of {', '.join(sorted(known))}" if known else " here, nor any other"


def _known(app: FastAPI) -> dict[Any, dict[str, bool]]:
    """Return, for each endpoint, its query parameters and whether they may be repeated."""
    known: dict[Any, dict[str, bool]] | None = getattr(app.state, "query_parameters", None)
    if known is None:
        known = app.state.query_parameters = dict(_described(app))
    return known


def _described(app: FastAPI) -> Iterator[tuple[Any, dict[str, bool]]]:
    paths = app.openapi()["paths"]
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            if operation := paths.get(route.path_format, {}).get(method.lower()):
                yield (
                    route.endpoint,
                    {
                        each["name"]: each["schema"].get("type") == "array"
                        for each in operation.get("parameters", [])
                        if each["in"] == "query"
                    },
                )
