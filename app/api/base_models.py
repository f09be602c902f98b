"""Base models over HTTP."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import Field, model_validator

from app.api.fields import LARGEST_NUMBER, Digest, In, JsonObject, Line, Out
from app.db.base_models import base_model_by_digest
from app.db.models import BaseModelRow
from app.domain.artifacts.geometry import Geometry, GeometryError, geometry_from_config
from app.domain.errors import (
    AlreadyExistsError,
    BaseModelDiffersError,
    Fault,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
)
from app.domain.identity.access import Role, not_found
from app.domain.naming import DIGEST_PATTERN
from app.http.bodies import JsonBody
from app.http.deps import Caller, SessionsDep, TransactionsDep
from app.http.problems import refuses, returns_existing
from app.http.role_checks import needs_somewhere
from app.services.artifacts import base_models

router = APIRouter(prefix="/base-models", tags=["base models"])


# For the OpenAPI document only: Geometry checks the numbers and names the dimension it refuses.
Dimension = Annotated[int, Field(json_schema_extra={"minimum": 1, "maximum": LARGEST_NUMBER})]


class ArchitectureIn(In):
    model_type: Line
    layers: Dimension
    attention_heads: Dimension
    kv_heads: Dimension
    head_dim: Dimension
    hidden_size: Dimension
    context_window: Dimension | None = None


class BaseModelIn(In):
    name: Line = Field(examples=["acme/tiny-llama"])
    revision: Line | None = None
    digest: Digest
    parameters: int = Field(ge=1, lt=2**53)
    licence: Line | None = None
    architecture: ArchitectureIn | None = None
    config: JsonObject | None = Field(
        default=None, description="The model's Hugging Face config.json, instead of architecture."
    )

    @model_validator(mode="after")
    def _one_source(self) -> "BaseModelIn":
        if (self.architecture is None) == (self.config is None):
            raise ValueError("give either architecture or config")
        return self

    def geometry(self) -> Geometry:
        """Return the given geometry, or derive it from the config.

        Raises:
            InvalidRequestError: It cannot be derived, or no model can have it.
        """
        try:
            if self.architecture is not None:
                return Geometry(**self.architecture.model_dump())
            return geometry_from_config(self.config or {})
        except (GeometryError, ValueError) as error:
            fault = Fault("geometry", str(error))
            message = f"The base model's geometry is not usable: {error}"
            raise InvalidRequestError(message, [fault]) from error


class BaseModelOut(Out):
    digest: str
    name: str
    revision: str | None
    parameters: int
    licence: str | None
    architecture: dict[str, Any]
    created_at: datetime
    created_by: str


def base_model_out(row: BaseModelRow) -> BaseModelOut:
    geometry = row.geometry
    return BaseModelOut(
        digest=row.digest,
        name=row.name,
        revision=row.revision,
        parameters=row.parameters,
        licence=row.licence,
        architecture={name: getattr(geometry, name) for name in geometry.__slots__},
        created_at=row.created_at,
        created_by=row.created_by.name,
    )


@router.post(
    "",
    status_code=201,
    dependencies=[needs_somewhere(Role.PUBLISHER)],
    responses={
        **returns_existing(BaseModelOut),
        **refuses(ForbiddenError, AlreadyExistsError, BaseModelDiffersError),
    },
)
def register_base_model(
    body: JsonBody[BaseModelIn], response: Response, transactions: TransactionsDep
) -> BaseModelOut:
    """Register a base model by the digest of its weights. Repeating the request returns 200."""
    description = base_models.BaseModelDescription(
        digest=body.digest,
        name=body.name,
        revision=body.revision,
        parameters=body.parameters,
        licence=body.licence,
        geometry=body.geometry(),
    )
    row, new = base_models.register(transactions, description=description)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/base-models/{row.digest}"
    return base_model_out(row)


@router.get("/{digest}", responses=refuses(ForbiddenError, NotFoundError))
def base_model(
    digest: Annotated[str, Path(pattern=DIGEST_PATTERN)], sessions: SessionsDep, caller: Caller
) -> BaseModelOut:
    caller.require_participant()
    with sessions() as session:
        row = base_model_by_digest(session, digest)
    if row is None:
        raise not_found("base model", digest)
    return base_model_out(row)
