"""Base models by digest and by name."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.db.models import BaseModelRow, Prefix, Version
from app.db.paging import Page, PageRequest, page_of
from app.db.prefixes import in_sight
from app.domain.access import Caller
from app.domain.identity import PrefixName


def base_model_by_digest(session: Session, digest: str) -> BaseModelRow | None:
    statement = select(BaseModelRow).where(BaseModelRow.digest == digest)
    return session.scalars(statement.options(joinedload(BaseModelRow.created_by))).one_or_none()


def base_models_named(
    session: Session, name: str, revision: str | None = None
) -> Sequence[BaseModelRow]:
    """Return the base models of a name, and of a revision if one is given."""
    statement = select(BaseModelRow).where(BaseModelRow.name == name)
    if revision is not None:
        statement = statement.where(BaseModelRow.revision == revision)
    return session.scalars(statement.order_by(BaseModelRow.digest).limit(100)).all()


def base_models_page(session: Session, request: PageRequest) -> Page[BaseModelRow]:
    """Return the base models, latest first."""
    statement = select(BaseModelRow).options(joinedload(BaseModelRow.created_by))
    key = [BaseModelRow.created_at, BaseModelRow.id]
    return page_of(session, statement, key, request, descending=True)


def prefixes_bound_to(
    session: Session, caller: Caller, base_model_ids: Collection[UUID]
) -> Mapping[UUID, list[PrefixName]]:
    """Return, for each base model, the prefixes in sight that have a version for it."""
    statement = (
        select(Version.base_model_id, Prefix.namespace, Prefix.name)
        .join(Version.prefix)
        .where(Version.base_model_id.in_(base_model_ids), in_sight(caller))
        .distinct()
        .order_by(Prefix.namespace, Prefix.name)
    )
    found: dict[UUID, list[PrefixName]] = defaultdict(list)
    for base_model_id, namespace, name in session.execute(statement):
        found[base_model_id].append(PrefixName(namespace, name))
    return found
