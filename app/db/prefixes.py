"""Prefixes: one by name, one locked, and the lists of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, exists, false, func, or_, select, true
from sqlalchemy.orm import Session, joinedload

from app.db.channels import served
from app.db.models import BaseModelRow, Prefix, Version
from app.db.paging import Page, PageRequest, page_of
from app.domain.access import EVERYWHERE, Caller
from app.domain.identity import PrefixName

_PEOPLE = (joinedload(Prefix.owner), joinedload(Prefix.created_by))


def prefix_in_sight(session: Session, caller: Caller, name: PrefixName) -> Prefix | None:
    return session.scalars(_named(name).where(in_sight(caller)).options(*_PEOPLE)).one_or_none()


def lock_prefix(session: Session, name: PrefixName) -> Prefix | None:
    """Return the prefix with its row locked until the transaction ends.

    Every write below a prefix takes this lock first. It orders version numbers, evidence,
    promotions and the audit chain; other prefixes, and reads, never wait for it.
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
    """Return the prefixes that the caller may see, by name."""
    statement = select(Prefix).options(*_PEOPLE).where(in_sight(caller))
    if wanted.namespace is not None:
        statement = statement.where(Prefix.namespace == wanted.namespace)
    if wanted.query is not None:
        pattern = f"%{_escaped(wanted.query.lower())}%"
        full_name = func.lower(func.concat(Prefix.namespace, "/", Prefix.name))
        statement = statement.where(full_name.like(pattern, escape="\\"))
    if wanted.base_model is not None:
        bound = exists().where(
            Version.prefix_id == Prefix.id,
            Version.base_model_id == BaseModelRow.id,
            BaseModelRow.digest == wanted.base_model,
        )
        statement = statement.where(bound)
    return page_of(session, statement, [Prefix.namespace, Prefix.name], request)


def in_sight(caller: Caller) -> ColumnElement[bool]:
    """Return the condition that the caller may see a prefix."""
    visible = caller.namespaces()
    whole = {namespace for namespace in visible if caller.sees_everything(namespace)}
    released = served(Prefix.id, caller)
    return or_(_within(whole), _within(visible - whole) & released)


def worked_on(caller: Caller) -> ColumnElement[bool]:
    """Return the condition that the caller sees all of a prefix, unreleased versions too."""
    return _within(name for name in caller.namespaces() if caller.sees_everything(name))


def _within(namespaces: Iterable[str]) -> ColumnElement[bool]:
    names = set(namespaces)
    if EVERYWHERE in names:
        return true()
    return Prefix.namespace.in_(names) if names else false()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
