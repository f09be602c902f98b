"""Keyset paging: the cost of a page does not grow with its distance from the first one."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, true, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.domain.errors import MalformedRequestError

T = TypeVar("T")
Key = Sequence[InstrumentedAttribute[Any]]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The rows of a page and, if there are more, the cursor of the next page."""

    items: list[T]
    next: str | None


@dataclass(frozen=True, slots=True)
class PageRequest:
    limit: int = 50
    cursor: str | None = None


def page_of(
    session: Session,
    statement: Select[T],
    key: Key,
    request: PageRequest,
    *,
    descending: bool = False,
) -> Page[T]:
    """Run `statement` for one page, ordered by the columns of `key`, which must be unique.

    Raises:
        MalformedRequestError: The cursor was not issued by this list.
    """
    statement = statement.where(beyond_cursor(key, request, descending=descending))
    order = [column.desc() if descending else column.asc() for column in key]
    found = session.scalars(statement.order_by(*order).limit(request.limit + 1)).unique().all()
    items = list(found[: request.limit])
    more = len(found) > request.limit
    return Page(items, _encode(items[-1], key) if more else None)


def beyond_cursor(
    key: Key, request: PageRequest, *, descending: bool = False
) -> ColumnElement[bool]:
    """Return the condition that a row comes after the cursor; true if there is no cursor.

    Raises:
        MalformedRequestError: The cursor was not issued by this list.
    """
    if request.cursor is None:
        return true()
    row, last = tuple_(*key), _decode(request.cursor, key)
    after: ColumnElement[bool] = row < last if descending else row > last
    return after


def _encode(row: object, key: Key) -> str:
    values = [getattr(row, column.key) for column in key]
    text = json.dumps([v.isoformat() if isinstance(v, datetime) else str(v) for v in values])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str, key: Key) -> Any:  # noqa: ANN401 - a SQL tuple of the key's own types
    try:
        texts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        values = [_value(text, column) for text, column in zip(texts, key, strict=True)]
    except (ValueError, TypeError, RecursionError) as error:
        message = f"The cursor {cursor[:80]!r} was not issued by this list; start over without it."
        raise MalformedRequestError(message) from error
    return tuple_(*values)


def _value(text: object, column: InstrumentedAttribute[Any]) -> object:
    if not isinstance(text, str) or not text.isprintable():
        raise ValueError("the text has characters that a column cannot hold")
    kind = column.type.python_type
    if kind is datetime:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("the time has no zone")
        return moment
    if kind is int and abs(int(text)) >= 2**31:
        raise ValueError("the number is outside the column's range")
    return UUID(text) if kind is UUID else kind(text)
