"""The form in which operators report possible changes."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tools.mutants.mutation import Edit, Family
from tools.mutants.source import Source, one_line


@dataclass(frozen=True, slots=True)
class Found:
    """A possible change at one place, by one operator."""

    family: Family
    operator: str
    edit: Edit
    old: str
    sentence: str


Operator = Callable[[Source, ast.AST], Iterator[Found]]


def replaced(source: Source, node: ast.AST, new: str) -> Edit:
    """Return the edit that puts `new` in the place of a node's text."""
    return Edit(*source.span(node), new)


def shown(source: Source, node: ast.AST) -> str:
    """Return a node's text as sentences quote it: in one line, between backquotes."""
    return f"`{one_line(source.text_of(node))}`"


def place(source: Source, node: ast.AST) -> str:
    """Return the name of the function at work, between backquotes."""
    return f"`{source.function(node)}`"
