"""Loads many rows as pg_restore does: COPY first, then keys and indexes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

Connection = psycopg.Connection[Any]

_CHUNK_ROWS = 2_000

_CONSTRAINTS: LiteralString = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), contype = 'f'
FROM pg_constraint
WHERE (conrelid = ANY(%(tables)s::regclass[]) AND contype IN ('p', 'u', 'f'))
   OR (confrelid = ANY(%(tables)s::regclass[]) AND contype = 'f')
ORDER BY contype = 'f', conrelid::regclass::text, conname
"""
_INDEXES: LiteralString = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
FROM pg_index
WHERE indrelid = ANY(%(tables)s::regclass[])
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A row that the registry wrote, in COPY's text format, as a template."""

    table: str
    columns: tuple[str, ...]
    texts: tuple[str, ...]

    def line(self, **changes: object) -> str:
        """Return the row in COPY's text format, with changes in some columns."""
        texts = zip(self.columns, self.texts, strict=True)
        return "\t".join(str(changes.get(name, text)) for name, text in texts)


def rows_like(connection: Connection, table: str, condition: str, *values: object) -> list[Row]:
    """Return rows of a table as templates.

    Args:
        connection: A connection of the tables' owner.
        table: Its name.
        condition: SQL on its columns, with `%s` for each of `values`.
        values: The values for the placeholders.
    """
    query = f"SELECT * FROM {table} WHERE {condition}"  # noqa: S608 - fixed text
    bound = psycopg.ClientCursor(connection).mogrify(_sql(query), values)
    with connection.cursor() as cursor, cursor.copy(_sql(f"COPY ({bound}) TO STDOUT")) as copy:
        lines = b"".join(bytes(piece) for piece in copy).decode().splitlines()
    names = connection.execute(_sql(f"SELECT * FROM {table} LIMIT 0")).description or []  # noqa: S608
    columns = tuple(column.name for column in names)
    return [Row(table, columns, tuple(line.split("\t"))) for line in lines]


def copy_lines(connection: Connection, table: str, lines: Iterable[str]) -> None:
    """Write lines in COPY's text format to a table."""
    statement = _sql(f"COPY {table} FROM STDIN")
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for chunk in _chunks(lines):
            copy.write(chunk)


@contextmanager
def deferred_keys(connection: Connection, *tables: str) -> Iterator[None]:
    """Drop the keys and indexes of some tables, and recreate them at the end of the block.

    PostgreSQL then checks every key and every reference of the new rows.
    """
    named = {"tables": list(tables)}
    constraints = connection.execute(_CONSTRAINTS, named).fetchall()
    indexes = connection.execute(_INDEXES, named).fetchall()
    for table, name, _, _ in reversed(constraints):
        connection.execute(_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
    for index, _ in indexes:
        connection.execute(_sql(f"DROP INDEX {index}"))
    yield
    for _, definition in indexes:
        connection.execute(_sql(definition))
    for table, name, definition, _ in constraints:
        connection.execute(_sql(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"))


def _chunks(lines: Iterable[str]) -> Iterator[str]:
    pending: list[str] = []
    for line in lines:
        pending.append(line)
        if len(pending) == _CHUNK_ROWS:
            yield "\n".join(pending) + "\n"
            pending.clear()
    if pending:
        yield "\n".join(pending) + "\n"


def _sql(text: str) -> LiteralString:
    """Mark a statement as trusted; it consists of fixed text and names from PostgreSQL."""
    return text  # type: ignore[return-value,unused-ignore] # mypy accepts any str
