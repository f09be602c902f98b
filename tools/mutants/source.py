"""The text of one module with its syntax tree: the places where mutations are possible."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

_UNPROVABLE_FUNCTIONS: Final = {"__repr__", "__str__"}
_UNPROVABLE_NAMES: Final = {"__all__", "__slots__"}
_LOGGERS: Final = re.compile(r"_?log(ger|ging)?|warnings")
# Arguments without an effect at run time that this service relies on.
_UNPROVABLE_ARGUMENTS: Final = {
    *("frozen", "slots", "repr", "kw_only", "eq", "order", "init"),
    *("raiseload", "compare", "daemon", "hide_parameters"),
}
_TYPES_FIELDS: Final = {"annotation", "returns", "type_params"}


@dataclass(slots=True)
class Source:
    """A module's text and tree; offsets count characters from the beginning of the text."""

    path: str
    text: str
    tree: ast.Module = field(init=False)
    _line_starts: list[int] = field(init=False)
    _lines: list[bytes] = field(init=False)
    _parents: dict[ast.AST, ast.AST] = field(init=False)

    def __post_init__(self) -> None:
        self.tree = ast.parse(self.text)
        lines = self.text.splitlines(keepends=True)
        self._line_starts = [0, *accumulate(map(len, lines))]
        self._lines = [line.encode() for line in lines]
        self._parents = {
            child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)
        }

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return where a node's text begins and ends."""
        start = self._offset(getattr(node, "lineno", 1), getattr(node, "col_offset", 0))
        end = self._offset(getattr(node, "end_lineno", 1), getattr(node, "end_col_offset", 0))
        return start, end

    def text_of(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.text[start:end]

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self._parents.get(node)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield a node's parent, the parent's parent and so on."""
        above = self.parent(node)
        while above is not None:
            yield above
            above = self.parent(above)

    def function_node(self, node: ast.AST) -> FunctionNode | None:
        """Return the innermost function that holds a node."""
        return next((a for a in self.ancestors(node) if isinstance(a, FunctionNode)), None)

    def function(self, node: ast.AST) -> str:
        """Return the qualified name of the class or function that holds a node."""
        above = [a for a in self.ancestors(node) if isinstance(a, FunctionNode | ast.ClassDef)]
        return ".".join(each.name for each in reversed(above)) or "(module)"

    def places(self) -> Iterator[ast.AST]:
        """Yield the nodes that act, in the order of the text.

        Docstrings, annotations, imports, logging and the like do nothing that a test could hold.
        """
        yield from self._below(self.tree)

    def _below(self, node: ast.AST) -> Iterator[ast.AST]:
        for name, value in ast.iter_fields(node):
            if name in _TYPES_FIELDS:
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not is_unprovable(child):
                    yield child
                    yield from self._below(child)

    def _offset(self, line: int, column_bytes: int) -> int:
        before = self._lines[line - 1][:column_bytes].decode()
        return self._line_starts[line - 1] + len(before)


def is_unprovable(node: ast.AST) -> bool:  # noqa: PLR0911 - a table of forms
    """Whether nothing at or below a node can be held by a test."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.FunctionDef(name=name):
            return name in _UNPROVABLE_FUNCTIONS
        case ast.ClassDef(bases=bases):
            return any(name_of(base) == "Protocol" for base in bases)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name))):
            return _LOGGERS.fullmatch(name) is not None
        case ast.keyword(arg=str(name)):
            return name in _UNPROVABLE_ARGUMENTS
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in _UNPROVABLE_NAMES
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.Subscript(value=value):
            return name_of(value)[:1].isupper()  # Annotated[...], Literal[...], Callable[...]
        case _:
            return False


def name_of(node: ast.AST) -> str:
    """Return the last name of what is called or referred to: `lock` for `self._rows.lock(x)`."""
    match node:
        case ast.Call(func=function):
            return name_of(function)
        case ast.Await(value=value):
            return name_of(value)
        case ast.Attribute(attr=name):
            return name
        case ast.Name(id=name):
            return name
        case _:
            return ""


def one_line(text: str) -> str:
    """Return a piece of code with its line breaks and runs of spaces made single spaces."""
    return " ".join(text.split())
