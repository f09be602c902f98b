"""Registering base models."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.db.base_models import base_model_by_digest, base_model_spelled_like, base_models_named
from app.db.models import BaseModelRow
from app.db.session import expect
from app.domain.artifacts.geometry import Geometry
from app.domain.audit.chain import REGISTRY, Facts
from app.domain.errors import AlreadyExistsError, BaseModelDiffersError, UnknownBaseModelError
from app.domain.identity.access import Role, role_anywhere
from app.services.transactions import Transaction, Transactions


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
    transactions: Transactions, *, description: BaseModelDescription
) -> tuple[BaseModelRow, bool]:
    """Register a base model by the digest of its weights; also return whether it is new.

    Raises:
        ForbiddenError: The caller is not a publisher in any namespace.
        BaseModelDiffersError: The digest is registered with different facts.
        AlreadyExistsError: The name differs from that of another base model by case only.
    """
    needs = role_anywhere(Role.PUBLISHER)
    with transactions.begin("base-model.register", needs, subject=REGISTRY) as transaction:
        session = transaction.session
        known = base_model_by_digest(session, description.digest)
        if known is None:
            if (alike := base_model_spelled_like(session, description.name)) is not None:
                message = (
                    f"The base model {alike.name} exists, and {description.name} differs by case "
                    f"only; register it as {alike.name}."
                )
                raise AlreadyExistsError(message)
            session.add(_row(description, transaction))
            event_facts: Facts = {
                "digest": description.digest,
                "name": description.name,
                "revision": description.revision,
            }
            transaction.record("base-model.register", event_facts)
            return expect(base_model_by_digest(session, description.digest)), True
    if differences := _differences(known, description):
        raise BaseModelDiffersError(
            f"{description.digest} is already registered as {known.name} with a different "
            f"{', '.join(differences)}. Send the registered description, or recompute the digest.",
            differences=differences,
        )
    return known, False


def _row(description: BaseModelDescription, transaction: Transaction) -> BaseModelRow:
    return BaseModelRow(
        digest=description.digest,
        name=description.name,
        revision=description.revision,
        parameters=description.parameters,
        licence=description.licence,
        geometry=description.geometry,
        created_at=transaction.now,
        created_by_id=transaction.caller.id,
    )


def _differences(known: BaseModelRow, description: BaseModelDescription) -> list[str]:
    compared = ("name", "revision", "parameters", "licence", "geometry")
    return [name for name in compared if getattr(known, name) != getattr(description, name)]


def find_base_model_digest(
    session: Session, *, digest: str | None, name: str | None, revision: str | None
) -> str:
    """Return the digest of the base model that a digest, or a name and revision, identify.

    Raises:
        UnknownBaseModelError: No name is given, or it matches no base model or several.
    """
    if digest is not None:
        return digest
    if name is None:
        raise UnknownBaseModelError(f"The adapter names no base model; {_HOW}")
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
