"""Queries: conditions, order, limits and distinctness, dropped."""

import ast
from collections.abc import Iterator
from typing import Final

from tools.mutants.mutation import Edit, Family
from tools.mutants.operators.finding import Found, place, replaced, shown
from tools.mutants.source import Source, one_line

_CLAUSES: Final = {
    "order_by": ("order-dropped", "comes in the order of"),
    "limit": ("limit-dropped", "is bounded by"),
    "distinct": ("distinct-dropped", "has no row twice, by"),
    "group_by": ("group-dropped", "has one row for each of"),
    "having": ("condition-dropped", "holds only rows with"),
}


def clauses(source: Source, node: ast.AST) -> Iterator[Found]:
    """Drop a clause that orders or bounds the rows of a query."""
    match node:
        case ast.Call(func=ast.Attribute(value=query, attr=name)) if name in _CLAUSES:
            operator, words = _CLAUSES[name]
            old = one_line(source.text[source.span(query)[1] : source.span(node)[1]])
            sentence = f"The result in {place(source, node)} {words} `{old}`."
            edit = replaced(source, node, source.text_of(query))
            yield Found(Family.QUERIES, operator, edit, old, sentence)


def conditions(source: Source, node: ast.AST) -> Iterator[Found]:
    """Drop one condition of a query."""
    match node:
        case ast.Call(func=ast.Attribute(value=query, attr="where"), args=arguments):
            pass
        case _:
            return
    for dropped in arguments:
        others = [source.text_of(each) for each in arguments if each is not dropped]
        if others:
            start, end = source.span(arguments[0])[0], source.span(arguments[-1])[1]
            edit = Edit(start, end, ", ".join(others))
        else:
            edit = replaced(source, node, source.text_of(query))
        sentence = f"{place(source, node)} concerns only rows with {shown(source, dropped)}."
        old = one_line(source.text_of(dropped))
        yield Found(Family.QUERIES, "condition-dropped", edit, old, sentence)


def orders(source: Source, node: ast.AST) -> Iterator[Found]:
    """Keep a list in the order in which it came, instead of sorting it."""
    match node:
        case ast.Call(func=ast.Name(id="sorted"), args=[first, *_]) if not isinstance(
            first, ast.GeneratorExp
        ):
            edit = replaced(source, node, f"list({source.text_of(first)})")
            sentence = f"The order in {place(source, node)} is that of {shown(source, node)}."
            old = one_line(source.text_of(node))
            yield Found(Family.QUERIES, "order-dropped", edit, old, sentence)
