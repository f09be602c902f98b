"""Registering base models."""

from dataclasses import dataclass
from datetime import datetime

from app.db import audit
from app.db.base_models import base_model_by_digest, base_model_spelled_like, base_models_named
from app.db.models import BaseModelRow
from app.db.session import Sessions, expect
from app.domain.artifacts.geometry import Geometry
from app.domain.audit.chain import REGISTRY, Facts, audit_event
from app.domain.errors import AlreadyExistsError, BaseModelDiffersError, UnknownBaseModelError
from app.domain.identity.access import Caller, Role


@dataclass(frozen=True, slots=True)
class BaseModelDescription:
    """The facts that describe a base model; the digest identifies it, and the rest must agree."""

    digest: str
    name: str
    revision: str | None
    parameters: int
    licence: str | None
    geometry: Geometry


def register(
    sessions: Sessions, *, description: BaseModelDescription, caller: Caller, now: datetime
) -> tuple[BaseModelRow, bool]:
    """Register a base model by the digest of its weights; also return whether it is new.

    Raises:
        ForbiddenError: The caller is not a publisher in any namespace.
        BaseModelDiffersError: The digest is registered with different facts.
        AlreadyExistsError: The name differs from that of another base model by case only.
    """
    caller.require_anywhere(Role.PUBLISHER)
    with sessions.begin() as session:
        audit.lock_chain(session, REGISTRY)
        known = base_model_by_digest(session, description.digest)
        if known is None:
            if (alike := base_model_spelled_like(session, description.name)) is not None:
                message = (
                    f"The base model {alike.name} exists, and {description.name} differs by case "
                    f"only; register it as {alike.name}."
                )
                raise AlreadyExistsError(message)
            session.add(_row(description, caller, now))
            event_facts: Facts = {
                "digest": description.digest,
                "name": description.name,
                "revision": description.revision,
            }
            audit.append(
                session,
                audit_event(REGISTRY, "base-model.register", event_facts, caller=caller, now=now),
            )
            return expect(base_model_by_digest(session, description.digest)), True
    if differences := _differences(known, description):
        raise BaseModelDiffersError(
            f"{description.digest} is already registered as {known.name} with a different "
            f"{', '.join(differences)}. Send the registered description, or recompute the digest.",
            differences=differences,
        )
    return known, False


def _row(description: BaseModelDescription, caller: Caller, now: datetime) -> BaseModelRow:
    return BaseModelRow(
        digest=description.digest,
        name=description.name,
        revision=description.revision,
        parameters=description.parameters,
        licence=description.licence,
        geometry=description.geometry,
        created_at=now,
        created_by_id=caller.id,
    )


def _differences(known: BaseModelRow, description: BaseModelDescription) -> list[str]:
    compared = ("name", "revision", "parameters", "licence", "geometry")
    return [name for name in compared if getattr(known, name) != getattr(description, name)]


def find_base_model_digest(
    sessions: Sessions, *, digest: str | None, name: str | None, revision: str | None
) -> str:
    """Return the digest of the base model that a digest, or a name and revision, identify.

    Raises:
        UnknownBaseModelError: No name is given, or it matches no base model or several.
    """
    if digest is not None:
        return digest
    if name is None:
        raise UnknownBaseModelError(f"The adapter names no base model; {_HOW}")
    with sessions() as session:
        found = base_models_named(session, name, revision)
    if not found:
        at = "" if revision is None else f" at revision {revision}"
        raise UnknownBaseModelError(
            f"No base model is registered as {name}{at}; register it with POST /v1/base-models, "
            f"or {_HOW}"
        )
    if len(found) > 1:
        known = ", ".join(row.digest for row in found[:5])
        raise UnknownBaseModelError(
            f"{len(found)} base models have the name {name} ({known}); {_HOW}"
        )
    return found[0].digest


_HOW = "put `base_digest: sha256:...` into the front matter of README.md."
