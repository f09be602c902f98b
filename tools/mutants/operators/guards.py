"""Guards: branches that refuse or return early, and calls that check something."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from tools.mutants.mutation import Edit, Family
from tools.mutants.operators.finding import Found, place, replaced, shown
from tools.mutants.source import Source, name_of, one_line

_CHECK: Final = re.compile(r"_?(require|refuse|check|ensure|verify|validate|forbid)(_.*)?")
_LEAVING: Final = (ast.Return, ast.Continue, ast.Break)


def branches(source: Source, node: ast.AST) -> Iterator[Found]:
    """Take a guard away: its branch that raises or leaves is never taken."""
    if not (isinstance(node, ast.If) and not node.orelse):
        return
    condition = shown(source, node.test)
    if isinstance(last := node.body[-1], ast.Raise):
        error = name_of(last.exc) if last.exc else "the error"
        sentence = f"{place(source, node)} raises {error or 'an error'} if {condition}."
        operator = "guard-never-raises"
    elif isinstance(last, _LEAVING):
        sentence = f"{place(source, node)} goes no further if {condition}."
        operator = "guard-never-leaves"
    else:
        return
    old = f"if {one_line(source.text_of(node.test))}"
    yield Found(Family.GUARDS, operator, never(source, node.test), old, sentence)


def never(source: Source, test: ast.expr) -> Edit:
    """Return the edit that makes a condition false; names that it binds stay bound."""
    binds = any(isinstance(each, ast.NamedExpr) for each in ast.walk(test))
    return replaced(source, test, f"({source.text_of(test)}) and False" if binds else "False")


def checks(source: Source, node: ast.AST) -> Iterator[Found]:
    """Delete a call whose only purpose is to refuse."""
    if isinstance(node, ast.Expr) and _CHECK.fullmatch(name_of(node.value)):
        sentence = f"{place(source, node)} itself refuses, by {shown(source, node)}."
        old = one_line(source.text_of(node))
        yield Found(Family.GUARDS, "check-deleted", replaced(source, node, "pass"), old, sentence)


def is_guard(node: ast.AST) -> bool:
    """Whether a statement is a branch or call that the operators of this module take away."""
    if isinstance(node, ast.Expr):
        return _CHECK.fullmatch(name_of(node.value)) is not None
    leaves = (ast.Raise, *_LEAVING)
    return isinstance(node, ast.If) and not node.orelse and isinstance(node.body[-1], leaves)
