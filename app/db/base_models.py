"""Base model queries: by digest, by name, and the prefixes bound to them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import func, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, joinedload

from app.db.models import BaseModelRow, PrefixBaseModel
from app.db.paging import Page, PageRequest, page_of
from app.db.prefixes import BOUND_PREFIX, is_visible_to, within
from app.domain.identity.access import Caller
from app.domain.naming import PrefixName


def base_model_by_digest(session: Session, digest: str) -> BaseModelRow | None:
    statement = select(BaseModelRow).where(BaseModelRow.digest == digest)
    return session.scalars(statement.options(joinedload(BaseModelRow.created_by))).one_or_none()


def base_models_named(
    session: Session, name: str, revision: str | None = None
) -> Sequence[BaseModelRow]:
    """Return the base models with a name, and with a revision if one is given."""
    statement = select(BaseModelRow).where(BaseModelRow.name == name)
    if revision is not None:
        statement = statement.where(BaseModelRow.revision == revision)
    return session.scalars(statement.order_by(BaseModelRow.digest).limit(100)).all()


def base_model_spelled_like(session: Session, name: str) -> BaseModelRow | None:
    """Return a base model whose name differs from `name` by case only."""
    statement = select(BaseModelRow).where(
        func.lower(BaseModelRow.name) == func.lower(name), BaseModelRow.name != name
    )
    return session.scalars(statement.limit(1)).one_or_none()


def base_models_page(session: Session, request: PageRequest) -> Page[BaseModelRow]:
    """Return the base models, latest first."""
    statement = select(BaseModelRow).options(joinedload(BaseModelRow.created_by))
    key = [BaseModelRow.created_at, BaseModelRow.id]
    return page_of(session, statement, key, request, descending=True)


def bind(session: Session, prefix: PrefixName, base: BaseModelRow) -> None:
    """Record that a prefix has a version for a base model; repeating this changes nothing."""
    new = insert(PrefixBaseModel).values(
        base_model_id=base.id, namespace=prefix.namespace, name=prefix.name
    )
    session.execute(new.on_conflict_do_nothing())


@dataclass(slots=True)
class Bound:
    """The first prefixes bound to a base model, by name; `more` means that there are others."""

    first: list[PrefixName] = field(default_factory=list)
    more: bool = False


def prefixes_bound_to(
    session: Session, caller: Caller, base_model_ids: Collection[UUID], *, most: int = 10
) -> Mapping[UUID, Bound]:
    """Return, for each base model, at most `most` visible prefixes with a version for it."""
    bound = (
        select(PrefixBaseModel.namespace, PrefixBaseModel.name)
        .join(BOUND_PREFIX, true())
        .where(
            PrefixBaseModel.base_model_id == BaseModelRow.id,
            within(caller.namespaces(), PrefixBaseModel),
            is_visible_to(caller, BOUND_PREFIX),
        )
        .order_by(PrefixBaseModel.namespace, PrefixBaseModel.name)
        .limit(most + 1)
        .lateral()
    )
    statement = (
        select(BaseModelRow.id, bound.c.namespace, bound.c.name)
        .join(bound, true())
        .where(BaseModelRow.id.in_(base_model_ids))
        .order_by(bound.c.namespace, bound.c.name)
    )
    found: dict[UUID, Bound] = defaultdict(Bound)
    for base_model_id, namespace, name in session.execute(statement):
        prefixes = found[base_model_id]
        prefixes.more = len(prefixes.first) == most
        if not prefixes.more:
            prefixes.first.append(PrefixName(namespace, name))
    return found
