"""Arithmetic: an operator replaced by its opposite."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from tools.mutants.mutation import Edit, Family
from tools.mutants.operators.finding import Found, place
from tools.mutants.source import Source, one_line

_OPPOSITES: Final = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "%": "*", "**": "*"}
_TOKENS: Final = re.compile(r"\*\*|//|[-+*/%]")
_NO_NUMBERS: Final = (
    *(ast.JoinedStr, ast.List, ast.Tuple, ast.Dict, ast.Set),
    *(ast.ListComp, ast.DictComp, ast.SetComp),
)


def operations(source: Source, node: ast.AST) -> Iterator[Found]:
    """Compute with the opposite operator."""
    match node:
        case ast.BinOp(left=left, right=right):
            pass
        case ast.AugAssign(target=left, value=right):
            pass
        case _:
            return
    if any(_has_no_numbers(each) for each in (left, right)):
        return
    if any(isinstance(above, ast.JoinedStr) for above in source.ancestors(node)):
        return
    start = source.span(left)[1]
    token = _TOKENS.search(source.text, start, source.span(right)[0])
    if token is None:
        return
    edit = Edit(token.start(), token.end(), _OPPOSITES[token.group()])
    old = one_line(source.text_of(node))
    sentence = f"{place(source, node)} computes `{old}`."
    yield Found(Family.ARITHMETIC, "opposite-operator", edit, old, sentence)


def _has_no_numbers(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return _has_no_numbers(node.left) or _has_no_numbers(node.right)
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    return is_text or isinstance(node, _NO_NUMBERS)
