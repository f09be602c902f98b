"""Locks: calls that take one, and queries that lock the rows they read."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from tools.mutants.mutation import Edit, Family
from tools.mutants.operators.finding import Found, place, replaced, shown
from tools.mutants.source import Source, name_of, one_line

_LOCK: Final = re.compile(r"_?lock(_.*)?|acquire")
_ROW_LOCK: Final = "with_for_update"


def calls(source: Source, node: ast.AST) -> Iterator[Found]:
    """Delete a call that takes a lock and whose result is not used."""
    if is_lock(node):
        sentence = f"Callers of {place(source, node)} wait for each other at {shown(source, node)}."
        old = one_line(source.text_of(node))
        yield Found(Family.LOCKS, "lock-deleted", replaced(source, node, "pass"), old, sentence)


def rows(source: Source, node: ast.AST) -> Iterator[Found]:
    """Read rows without locking them."""
    sentence = f"The rows that {place(source, node)} reads stay locked until its transaction ends."
    match node:
        case ast.Call(func=ast.Attribute(value=query, attr=name)) if name == _ROW_LOCK:
            edit = replaced(source, node, source.text_of(query))
            start, end = source.span(query)[1], source.span(node)[1]
            old = one_line(source.text[start:end])
            yield Found(Family.LOCKS, "row-lock-dropped", edit, old, sentence)
        case ast.keyword(arg=name, value=value) if name == _ROW_LOCK:
            edit = Edit(*source.span(value), "False")
            old = one_line(source.text_of(node))
            yield Found(Family.LOCKS, "row-lock-dropped", edit, old, sentence)


def is_lock(node: ast.AST) -> bool:
    """Whether a statement only takes a lock."""
    return isinstance(node, ast.Expr) and _LOCK.fullmatch(name_of(node.value)) is not None
