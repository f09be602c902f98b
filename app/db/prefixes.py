"""Prefix queries: by name, locked, listed and searched, and the conditions of visibility."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Select,
    cast,
    collate,
    exists,
    false,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.orm import Session, aliased, joinedload
from sqlalchemy.sql.base import ExecutableOption

from app.db.channels import served
from app.db.models import BaseModelRow, Prefix, PrefixBaseModel
from app.db.paging import Key, Page, PageRequest, beyond_cursor, page_of
from app.domain.identity.access import EVERYWHERE, Caller
from app.domain.naming import PrefixName

# The prefix of a `PrefixBaseModel` row, looked up row by row. The planner assumes that all base
# models are equally frequent, so with a plain join it might read all prefixes for a rare one.
BOUND_PREFIX: Final = aliased(
    Prefix,
    select(Prefix)
    .where(Prefix.namespace == PrefixBaseModel.namespace, Prefix.name == PrefixBaseModel.name)
    .correlate(PrefixBaseModel)
    .offset(0)
    .lateral(),
)

_SCANNED_NAMES: Final = 2000  # a search tests this many names in order before it uses the index


def prefix_visible_to(session: Session, caller: Caller, name: PrefixName) -> Prefix | None:
    return session.scalars(
        _named(name).where(is_visible_to(caller)).options(*_principals(Prefix))
    ).one_or_none()


def prefix_spelled_like(session: Session, name: PrefixName) -> Prefix | None:
    """Return the prefix with this name, or with one that differs by case only."""
    spelled_like = func.lower(Prefix.name) == name.name.lower()
    return session.scalars(
        select(Prefix).where(Prefix.namespace == name.namespace, spelled_like)
    ).one_or_none()


def lock_prefix(session: Session, name: PrefixName) -> Prefix | None:
    """Return the prefix with its row locked until the transaction ends.

    Every write to a prefix or its objects takes this lock first. It serialises version numbers,
    evidence, promotions and the audit chain; other prefixes and reads never wait for it.
    """
    lock = _named(name).with_for_update(key_share=True)
    return session.scalars(lock.execution_options(populate_existing=True)).one_or_none()


def _named(name: PrefixName) -> Select[Prefix]:
    return select(Prefix).where(Prefix.namespace == name.namespace, Prefix.name == name.name)


@dataclass(frozen=True, slots=True)
class PrefixFilter:
    namespace: str | None = None
    base_model: str | None = None
    query: str | None = None


def prefixes_page(
    session: Session, caller: Caller, wanted: PrefixFilter, request: PageRequest
) -> Page[Prefix]:
    """Return the prefixes that are visible to the caller, ordered by name.

    A text that occurs in many names fills the page from the first names scanned. Any other text
    occurs in few names, and the index of name endings finds those without a scan.
    """
    if not wanted.query:
        if wanted.base_model is not None:
            return _bound_page(session, caller, wanted, request)
        return _page(session, Prefix, caller, wanted, request)
    part = wanted.query.lower()
    following = _following(caller, wanted, request)
    first = following.order_by(*_by_name(Prefix)).limit(_SCANNED_NAMES)
    scanned = aliased(Prefix, first.subquery())
    page = _page(session, scanned, caller, wanted, request, _contains(scanned, part))
    if page.next is not None:
        return page
    # The offset makes the planner find all matches first. Otherwise it might test every name in
    # the page's order, which is slow if the matches come last.
    found = aliased(Prefix, following.where(_has_ending(part)).offset(0).subquery())
    return _page(session, found, caller, wanted, request)


def _page(
    session: Session,
    prefix: type[Prefix],
    caller: Caller,
    wanted: PrefixFilter,
    request: PageRequest,
    *conditions: ColumnElement[bool],
) -> Page[Prefix]:
    statement = (
        select(prefix)
        .options(*_principals(prefix))
        .where(is_visible_to(caller, prefix), *conditions)
    )
    if wanted.namespace is not None:
        statement = statement.where(prefix.namespace == wanted.namespace)
    if wanted.base_model is not None:
        bound = exists().where(
            _is_of(wanted.base_model),
            PrefixBaseModel.namespace == prefix.namespace,
            PrefixBaseModel.name == prefix.name,
        )
        statement = statement.where(bound)
    return page_of(session, statement, _by_name(prefix), request)


def _bound_page(
    session: Session, caller: Caller, wanted: PrefixFilter, request: PageRequest
) -> Page[Prefix]:
    """Return the prefixes of a base model, in the order of the index that lists them."""
    statement = (
        select(BOUND_PREFIX)
        .join_from(PrefixBaseModel, BOUND_PREFIX, true())
        .options(*_principals(BOUND_PREFIX))
    )
    statement = statement.where(
        _is_of(wanted.base_model),
        within(caller.namespaces(), PrefixBaseModel),
        is_visible_to(caller, BOUND_PREFIX),
    )
    if wanted.namespace is not None:
        statement = statement.where(PrefixBaseModel.namespace == wanted.namespace)
    return page_of(session, statement, _by_name(PrefixBaseModel), request)


def _is_of(base_model: str | None) -> ColumnElement[bool]:
    base = select(BaseModelRow.id).where(BaseModelRow.digest == base_model)
    return PrefixBaseModel.base_model_id == base.scalar_subquery()


def _principals(prefix: type[Prefix]) -> tuple[ExecutableOption, ExecutableOption]:
    return joinedload(prefix.owner), joinedload(prefix.created_by)


def _by_name(prefix: type[Prefix | PrefixBaseModel]) -> Key:
    return [prefix.namespace, prefix.name]


def _following(caller: Caller, wanted: PrefixFilter, request: PageRequest) -> Select[Prefix]:
    """Select the prefixes after the cursor that are in the caller's namespaces."""
    following = select(Prefix).where(
        within(caller.namespaces()), beyond_cursor(_by_name(Prefix), request)
    )
    if wanted.namespace is not None:
        following = following.where(Prefix.namespace == wanted.namespace)
    return following


def _contains(prefix: type[Prefix], part: str) -> ColumnElement[bool]:
    # Compare by code point, as the index does: the database's collation may fold differently.
    full_name = collate(func.concat(prefix.namespace, "/", prefix.name), "C")
    return func.lower(full_name).contains(part, autoescape=True)


def _has_ending(part: str) -> ColumnElement[bool]:
    """Return the condition that an ending of the full name begins with `part`; uses the index."""
    quoted = part.replace("\\", "\\\\").replace("'", "''")
    endings = func.name_endings(Prefix.namespace, Prefix.name)
    return endings.bool_op("@@")(cast(f"'{quoted}':*", TSQUERY))


def is_visible_to(caller: Caller, prefix: type[Prefix] = Prefix) -> ColumnElement[bool]:
    """Return the condition that a prefix is visible to the caller."""
    visible, whole = caller.namespaces(), caller.fully_visible_namespaces()
    released = served(prefix.id, caller)
    return or_(within(whole, prefix), within(visible - whole, prefix) & released)


def is_wholly_visible_to(caller: Caller) -> ColumnElement[bool]:
    """Return the condition that all of a prefix is visible, including unreleased versions."""
    return within(caller.fully_visible_namespaces())


def within(
    namespaces: Iterable[str], prefix: type[Prefix | PrefixBaseModel] = Prefix
) -> ColumnElement[bool]:
    """Return the condition that a prefix is in one of the namespaces; `*` stands for all."""
    names = set(namespaces)
    if EVERYWHERE in names:
        return true()
    return prefix.namespace.in_(names) if names else false()
