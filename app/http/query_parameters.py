"""Query parameters: only those that the endpoint declares, and each at most once."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant

from app.domain.errors import Fault, InvalidRequestError
from app.http.deps import Caller


async def require_declared_parameters(request: Request, _caller: Caller) -> None:
    """Refuse parameters that FastAPI would ignore, such as a misspelt `?chanel=staging`.

    FastAPI's query models with `extra="forbid"` would do so only for endpoints that use one, and
    an endpoint without parameters has none. This reads the declarations of every endpoint below
    a router instead.

    Raises:
        InvalidRequestError: A parameter is not declared, or is repeated.
    """
    sent = Counter(name for name, _ in request.query_params.multi_items())
    if not sent:
        return
    repeatable = declared_parameters(request.scope["route"].dependant)
    faults = [
        Fault("unknown-parameter", f"There is no parameter {name[:80]!r}{_choices(repeatable)}.")
        for name in sorted(sent.keys() - repeatable.keys())
    ]
    faults += [
        Fault("repeated-parameter", f"The parameter {name} comes {sent[name]} times.")
        for name in sorted(sent.keys() & repeatable.keys())
        if sent[name] > 1 and not repeatable[name]
    ]
    if faults:
        message = f"The query is refused for {len(faults)} parameter(s): {faults[0].message}"
        raise InvalidRequestError(message, faults)


def _choices(declared: Mapping[str, bool]) -> str:
    return f"; send any of {', '.join(sorted(declared))}" if declared else " here, nor any other"


def declared_parameters(dependant: Dependant) -> dict[str, bool]:
    """Return the names of a route's query parameters, and whether each may be repeated."""
    return {
        field.alias: get_origin(field.field_info.annotation) is list
        for each in _with_dependencies(dependant)
        for field in each.query_params
    }


def _with_dependencies(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for each in dependant.dependencies:
        yield from _with_dependencies(each)
