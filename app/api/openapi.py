"""The OpenAPI document: what FastAPI cannot know of problems and hand-read bodies is added."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from app.api.evidence import EvaluationIn
from app.api.imports import InspectIn, LmEvalIn
from app.api.policies import PolicyIn
from app.api.pushes import UploadedVersionIn, VersionIn
from app.problems import Problem

_ADDED: Final[list[tuple[type[BaseModel], JsonSchemaMode]]] = [
    (Problem, "serialization"),
    (PolicyIn, "validation"),
    (VersionIn, "validation"),
    (EvaluationIn, "validation"),
    (LmEvalIn, "validation"),
    (InspectIn, "validation"),
    (UploadedVersionIn, "validation"),
]


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
    _, added = models_json_schema(_ADDED, ref_template="#/components/schemas/{model}")
    schemas: dict[str, Any] = document["components"]["schemas"]
    schemas.update(added["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document
