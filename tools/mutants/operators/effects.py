"""Effects: statements that only call something or set an attribute, deleted."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from tools.mutants.mutation import Family
from tools.mutants.operators.finding import Found, place, replaced, shown
from tools.mutants.operators.guards import is_guard
from tools.mutants.operators.locks import is_lock
from tools.mutants.source import Source, is_unprovable, one_line

_AUDIT: Final = re.compile(r"\baudit\b|\brecord\b|_append_entry|_record\b")


def calls(source: Source, node: ast.AST) -> Iterator[Found]:
    """Delete a statement that only calls; checks and locks have operators of their own."""
    if not isinstance(node, ast.Expr) or is_guard(node) or is_lock(node):
        return
    call = node.value.value if isinstance(node.value, ast.Await) else node.value
    if not isinstance(call, ast.Call) or is_unprovable(call):
        return
    is_audit = _AUDIT.search(source.text_of(call.func)) is not None
    sentence = f"{place(source, node)} has the effect of {shown(source, node)}."
    yield Found(
        Family.EFFECTS,
        "audit-deleted" if is_audit else "call-deleted",
        replaced(source, node, "pass"),
        one_line(source.text_of(node)),
        sentence,
    )


def assignments(source: Source, node: ast.AST) -> Iterator[Found]:
    """Delete a statement that sets an attribute or an item."""
    match node:
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            pass
        case ast.AugAssign(target=ast.Attribute() | ast.Subscript()):
            pass
        case _:
            return
    function = source.function_node(node)
    if function is None or function.name in {"__init__", "__post_init__"}:
        return
    old = one_line(source.text_of(node))
    sentence = f"{place(source, node)} leaves behind {shown(source, node)}."
    edit = replaced(source, node, "pass")
    yield Found(Family.EFFECTS, "assignment-deleted", edit, old, sentence)
