"""The OpenAPI document, with the problems, bodies and headers that FastAPI cannot infer."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from app.api.evaluation_imports import InspectIn, LmEvalIn
from app.api.evaluation_models import EvaluationIn
from app.api.policies import PolicyIn
from app.api.pushes import UploadedVersionIn, VersionIn
from app.domain.errors import (
    AnswerNotKeptError,
    IdempotencyKeyReusedError,
    RegistryError,
    RequestInFlightError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
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


def install(app: FastAPI) -> None:
    """Make `app.openapi()` describe every body and every refusal."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented extension point


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
