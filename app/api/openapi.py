"""The OpenAPI document, with the problems, bodies and headers that FastAPI cannot infer."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.concurrency import run_in_threadpool

from app.api.evaluation_imports import InspectIn, LmEvalIn
from app.api.evaluation_models import EvaluationIn
from app.api.policies import PolicyIn
from app.api.pushes import UploadedVersionIn, VersionIn
from app.api.suites import SealedSuiteIn, SuiteIn
from app.domain.delivery.conditional_requests import is_named
from app.domain.errors import (
    AnswerNotKeptError,
    IdempotencyKeyReusedError,
    RegistryError,
    RequestInFlightError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from app.domain.naming import sha256_digest
from app.http.bodies import JsonBodyReader
from app.http.problems import Problem, refuses

_ADDED_MODELS: Final[list[tuple[type[BaseModel], JsonSchemaMode]]] = [
    (Problem, "serialization"),
    (PolicyIn, "validation"),
    (VersionIn, "validation"),
    (EvaluationIn, "validation"),
    (LmEvalIn, "validation"),
    (InspectIn, "validation"),
    (UploadedVersionIn, "validation"),
    (SuiteIn, "validation"),
    (SealedSuiteIn, "validation"),
]
_JSON_BODY_REFUSALS: Final = (TooLargeError, UnsupportedMediaTypeError)
_KEY_REFUSALS: Final = (AnswerNotKeptError, RequestInFlightError, IdempotencyKeyReusedError)
_KEY_HEADER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A string that you choose, such as a UUID. A request repeated with the same key "
    "within 24 hours takes effect once and gets the same response.",
    "schema": {
        "type": "string",
        "pattern": r'^([!-~]{1,255}|"([ !#-\[\]-~]|\\["\\]){1,255}")$',
        "title": "Idempotency-Key",
    },
}

Operation = dict[str, Any]


PATH: Final = "/openapi.json"


@dataclass(frozen=True, slots=True)
class _Rendered:
    content: bytes
    tag: str


@dataclass(slots=True)
class _Cached:
    """The document as bytes, rendered once, in a thread: it would stall the event loop."""

    document: Callable[[], dict[str, Any]]
    _rendered: _Rendered | None = None
    _rendering: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self) -> _Rendered:
        if self._rendered is None:
            async with self._rendering:
                if self._rendered is None:
                    self._rendered = await run_in_threadpool(self._render)
        return self._rendered

    def _render(self) -> _Rendered:
        content = json.dumps(self.document(), ensure_ascii=False, separators=(",", ":")).encode()
        return _Rendered(content, f'"{sha256_digest(content).removeprefix("sha256:")[:32]}"')


def install(app: FastAPI, *, is_served: bool) -> None:
    """Make `app.openapi()` describe every body and every refusal, and serve it at `PATH`."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented extension point
    cached = _Cached(openapi)

    async def respond(request: Request) -> Response:
        rendered = await cached.get()
        headers = {"ETag": rendered.tag}
        if is_named(rendered.tag, request.headers.get("if-none-match")):
            return Response(status_code=304, headers=headers)
        return Response(rendered.content, media_type="application/json", headers=headers)

    if is_served:
        app.add_route(PATH, respond, include_in_schema=False)


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    models = list(_ADDED_MODELS)
    for operation, model in _json_bodies(app, document["paths"]):
        models.append((model, "validation"))
        _describe_body(operation, model)
    for methods in document["paths"].values():
        if operation := methods.get("post"):
            operation.setdefault("parameters", []).append(_KEY_HEADER)
            _add_refusals(operation, *_KEY_REFUSALS)
    _, added = models_json_schema(models, ref_template="#/components/schemas/{model}")
    schemas: dict[str, Any] = document["components"]["schemas"]
    schemas.update(added["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _json_bodies(
    app: FastAPI, paths: Mapping[str, Mapping[str, Operation]]
) -> Iterator[tuple[Operation, type[BaseModel]]]:
    """Yield each operation that reads a JSON body, with the body's model."""
    for route in iter_route_contexts(app.routes):
        described = paths.get(route.path_format or "", {})
        for method in route.methods or ():
            operation = described.get(method.lower())
            if operation is None:
                continue
            for dependency in route.dependant.dependencies:
                if isinstance(dependency.call, JsonBodyReader):
                    yield operation, dependency.call.model


def _describe_body(operation: Operation, model: type[BaseModel]) -> None:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    content = {"application/json": {"schema": schema}}
    operation["requestBody"] = {"required": True, "content": content}
    _add_refusals(operation, *_JSON_BODY_REFUSALS)


def _add_refusals(operation: Operation, *refusals: type[RegistryError]) -> None:
    """Add refusals to the responses of an operation."""
    responses = operation["responses"]
    for status, response in refuses(*refusals, usual=()).items():
        known = responses.setdefault(str(status), response)
        if known is not response:
            known["description"] = f"{known['description']}; {response['description']}"
