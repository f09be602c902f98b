"""Constants: limits, defaults, flags, and the members of tables."""

import ast
import re
from collections.abc import Iterator
from typing import Final, TypeGuard

from tools.mutants.mutation import Edit, Family
from tools.mutants.operators.finding import Found, place, replaced, shown
from tools.mutants.source import Source, name_of, one_line

_TIME: Final = re.compile(r"_S\b|_s\b|timedelta|seconds|minutes|hours|days|lifetime", re.IGNORECASE)
_SCOPES: Final = (ast.Module, ast.ClassDef)
_INDEX_OR_TEXT: Final = (ast.Subscript, ast.Slice, ast.JoinedStr)


def numbers(source: Source, node: ast.AST) -> Iterator[Found]:
    """Make a number a little larger."""
    if not isinstance(node, ast.Constant) or not _is_number(node.value):
        return
    if any(isinstance(a, _INDEX_OR_TEXT) for a in source.ancestors(node)):
        return
    statement = _statement(source, node)
    context = one_line(source.text_of(statement)).split(":=", maxsplit=1)[0]
    is_default = _is_default(source, node)
    is_time = _TIME.search(context) is not None
    family = Family.TIMES if is_time else Family.CONSTANTS if is_default else Family.ARITHMETIC
    sentence = f"The {source.text_of(node)} in {place(source, node)} is exactly that."
    edit = replaced(source, node, repr(_larger(node.value)))
    old = f"{source.text_of(node)} in {context[:80]}"
    yield Found(family, "number-changed", edit, old, sentence)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _larger(number: float) -> float:
    return number + 1 if isinstance(number, int) else number * 1.5 or 0.5


def flags(source: Source, node: ast.AST) -> Iterator[Found]:
    """Turn a flag that is passed, assigned, defaulted to or returned."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, bool):
        return
    parent = source.parent(node)
    if isinstance(parent, ast.keyword) and _is_of_zip(source, parent):
        return
    if isinstance(parent, ast.keyword | ast.Assign | ast.AnnAssign | ast.arguments | ast.Call):
        edit = replaced(source, node, repr(not node.value))
        old = one_line(source.text_of(node if isinstance(parent, ast.arguments) else parent))
        sentence = f"{place(source, node)} depends on `{old}`."
        yield Found(Family.CONSTANTS, "flag-turned", edit, old[:80], sentence)


def _is_of_zip(source: Source, argument: ast.keyword) -> bool:
    """Whether a flag only asserts that lists are equally long, which the code around ensures."""
    call = source.parent(argument)
    return call is not None and name_of(call) == "zip"


def members(source: Source, node: ast.AST) -> Iterator[Found]:
    """Leave one member out of a table that a module or a class defines."""
    if not isinstance(node, ast.Set | ast.List | ast.Tuple | ast.Dict):
        return
    if source.function_node(node) is not None or _is_type(source, node):
        return
    spans = _member_spans(source, node)
    if len(spans) < 2:  # noqa: PLR2004 - an empty table is another change
        return
    for index, (start, end) in enumerate(spans):
        edit = Edit(start, spans[index + 1][0] if index + 1 < len(spans) else end, "")
        old = one_line(source.text[start:end])
        sentence = f"The table in {place(source, node)} has the member `{old[:80]}`."
        yield Found(Family.CONSTANTS, "member-left-out", edit, old[:80], sentence)


def _member_spans(
    source: Source, node: ast.Set | ast.List | ast.Tuple | ast.Dict
) -> list[tuple[int, int]]:
    if isinstance(node, ast.Dict):
        return [
            (source.span(value if key is None else key)[0], source.span(value)[1])
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None  # an unpacked table has a text before its name
        ]
    return [source.span(each) for each in node.elts]


def _is_type(source: Source, node: ast.AST) -> bool:
    """Whether a tuple or list is an argument of a type, such as of `tuple[int, str]`."""
    return any(isinstance(above, ast.Subscript) for above in source.ancestors(node))


def _is_default(source: Source, node: ast.AST) -> bool:
    """Whether a number is a default of a parameter or a field, or a named limit."""
    parent = source.parent(node)
    if isinstance(parent, ast.arguments | ast.keyword):
        return True
    return source.function_node(node) is None


def _statement(source: Source, node: ast.AST) -> ast.AST:
    """Return the call's argument, or else the statement or parameters, that holds a number."""
    for above in source.ancestors(node):
        if isinstance(above, ast.keyword):
            return above
        if isinstance(above, (*_SCOPES, ast.FunctionDef, ast.AsyncFunctionDef)):
            break
        if isinstance(above, ast.stmt) and not hasattr(above, "body"):
            return above
    return node


def optional_results(source: Source, node: ast.AST) -> Iterator[Found]:
    """Return nothing where a function returns something or None."""
    function = source.function_node(node)
    if not isinstance(node, ast.Return) or function is None or function.returns is None:
        return
    if node.value is None or isinstance(node.value, ast.Constant):
        return
    if source.text_of(function.returns).endswith("| None"):
        edit = replaced(source, node.value, "None")
        sentence = f"{place(source, node)} returns {shown(source, node.value)}."
        old = one_line(source.text_of(node))
        yield Found(Family.CONSTANTS, "result-none", edit, old, sentence)
