"""Conditions: boundaries, negations, and the parts of and/or."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from tools.mutants.mutation import Edit, Family
from tools.mutants.operators.finding import Found, place, replaced, shown
from tools.mutants.operators.guards import is_guard
from tools.mutants.source import Source, one_line

_BOUNDARIES: Final = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_OPPOSITES: Final = {
    "==": "!=",
    "!=": "==",
    "is": "is not",
    "is not": "is",
    "in": "not in",
    "not in": "in",
}
_TOKENS: Final = re.compile(r"<=|>=|==|!=|<|>|\bis\s+not\b|\bnot\s+in\b|\bis\b|\bin\b")
_TIME: Final = re.compile(
    r"\b(now|until|deadline|today|left|waited_s|begun|elapsed)\b|_at\b|_since\b|not_before"
    r"|expires|monotonic|timedelta|lifetime|_clock\b"
)
_LOOSE: Final = (ast.BoolOp, ast.IfExp, ast.NamedExpr, ast.Lambda)


def comparisons(source: Source, node: ast.AST) -> Iterator[Found]:
    """Move a boundary by its equality, or turn a comparison into its opposite."""
    if not isinstance(node, ast.Compare):
        return
    for left, right in pairwise([node.left, *node.comparators]):
        between = source.text[source.span(left)[1] : source.span(right)[0]]
        token = _TOKENS.search(between)
        if token is None:
            continue
        start = source.span(left)[1] + token.start()
        written = one_line(token.group())
        pair = one_line(source.text[source.span(left)[0] : source.span(right)[1]])
        if new := _BOUNDARIES.get(written):
            is_time = _TIME.search(pair) is not None
            equal = f"`{one_line(source.text_of(left))} == {one_line(source.text_of(right))}`"
            yield Found(
                Family.TIMES if is_time else Family.CONDITIONS,
                "time-boundary" if is_time else "boundary",
                Edit(start, start + len(token.group()), new),
                pair,
                f"{place(source, node)} decides the case {equal}.",
            )
        elif _is_value(source, node):
            edit = Edit(start, start + len(token.group()), _OPPOSITES[written])
            sentence = f"{place(source, node)} gives other results if `{pair}` is false."
            yield Found(Family.CONDITIONS, "opposite", edit, pair, sentence)


def _is_value(source: Source, node: ast.Compare) -> bool:
    """Whether a comparison is more than the whole condition of a branch."""
    parent = source.parent(node)
    return not isinstance(parent, ast.If | ast.IfExp | ast.While | ast.comprehension)


def negations(source: Source, node: ast.AST) -> Iterator[Found]:
    """Take a branch in exactly the other cases; guards have operators of their own."""
    if isinstance(node, ast.If | ast.IfExp) and not is_guard(node):
        tests = [node.test]
    else:
        tests = node.ifs if isinstance(node, ast.comprehension) else []
    for test in tests:
        if any(isinstance(each, ast.NamedExpr) for each in ast.walk(test)):
            continue
        edit = replaced(source, test, f"not ({source.text_of(test)})")
        sentence = f"{place(source, node)} acts differently if {shown(source, test)} is false."
        old = one_line(source.text_of(test))
        yield Found(Family.CONDITIONS, "negated", edit, old, sentence)


def parts(source: Source, node: ast.AST) -> Iterator[Found]:
    """Leave one part of an and/or out."""
    if not isinstance(node, ast.BoolOp):
        return
    word = "and" if isinstance(node.op, ast.And) else "or"
    for left_out in node.values:
        if any(isinstance(each, ast.NamedExpr) for each in ast.walk(left_out)):
            continue
        others = [_grouped(source, each) for each in node.values if each is not left_out]
        edit = replaced(source, node, f"({f' {word} '.join(others)})")
        old = one_line(source.text_of(left_out))
        sentence = f"In {place(source, node)} the part {shown(source, left_out)} matters by itself."
        yield Found(Family.CONDITIONS, "part-left-out", edit, old, sentence)


def _grouped(source: Source, node: ast.expr) -> str:
    text = source.text_of(node)
    return f"({text})" if isinstance(node, _LOOSE) else text


def results(source: Source, node: ast.AST) -> Iterator[Found]:
    """Return the opposite from a function that answers yes or no."""
    function = source.function_node(node)
    if not isinstance(node, ast.Return) or node.value is None or function is None:
        return
    if isinstance(function.returns, ast.Name) and function.returns.id == "bool":
        edit = replaced(source, node.value, f"not ({source.text_of(node.value)})")
        old = one_line(source.text_of(node))
        sentence = f"{place(source, node)} answers by {shown(source, node.value)}."
        yield Found(Family.CONDITIONS, "result-negated", edit, old, sentence)
