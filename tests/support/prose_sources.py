"""Blocks of prose in source files: docstrings, comments, messages, Markdown, page texts."""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_FEWEST_WORDS = 3
_DIRECTIVE = re.compile(r"#\s*(?:noqa|type:|!|pragma)|#!")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Block:
    """A paragraph, and the line of its file that it starts on."""

    line: int
    text: str


@dataclass(frozen=True)
class _Comment:
    """A comment on one line, after what stands before it."""

    line: int
    before: str
    text: str

    def continues(self, other: "_Comment") -> bool:
        follows = self.line == other.line + 1 and self.before == other.before
        return follows and not self.before.strip()


def blocks_in(path: Path) -> Iterator[Block]:
    """Yield the paragraphs of a file's prose; a file without a known form has none."""
    match path.suffix:
        case ".py":
            yield from _python(path.read_text())
        case ".md":
            yield from _markdown(path.read_text())
        case ".html":
            yield from _template(path.read_text())
        case ".js" | ".css":
            yield from _slash_comments(path.read_text())
        case ".toml" | ".yml" | ".yaml" | ".sh" | ".sql" | "":
            yield from _hash_comments(path.read_text())


def _python(source: str) -> Iterator[Block]:
    tree = ast.parse(source)
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node):
            docstring = node.body[0].value
            docstrings.add(docstring)
            yield from _paragraphs(docstring.lineno, _without_code(docstring.value))
    yield from _messages(tree, docstrings)
    yield from _comments(source)


def _messages(tree: ast.AST, docstrings: set[ast.AST]) -> Iterator[Block]:
    """Yield strings that read as sentences, such as refusals and the help of options."""
    parts = {
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(p.value if isinstance(p, ast.Constant) else "X" for p in node.values)
        elif isinstance(node, ast.Constant) and node not in docstrings | parts:
            text = node.value
        else:
            continue
        if isinstance(text, str) and _reads_as_sentence(text):
            yield from _paragraphs(node.lineno, _without_code(text))


def _reads_as_sentence(text: str) -> bool:
    is_code = re.search(r"\bSELECT\b|[{}<>|\\]", text)
    return len(text.split()) > _FEWEST_WORDS and not is_code


def _comments(source: str) -> Iterator[Block]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    yield from _joined(
        _Comment(token.start[0], token.line[: token.start[1]], token.string.lstrip("#: "))
        for token in tokens
        if token.type == tokenize.COMMENT and not _DIRECTIVE.match(token.string)
    )


def _hash_comments(source: str) -> Iterator[Block]:
    yield from _joined(
        _Comment(number, line[: match.start()], match[1])
        for number, line in enumerate(source.splitlines(), start=1)
        if (match := re.search(r"(?:^|(?<=\s))(?:#+|--)\s+(.*)$", line))
    )


def _slash_comments(source: str) -> Iterator[Block]:
    for match in re.finditer(r"/\*(.*?)\*/|(?<=\s)//(.*)", source, flags=re.DOTALL):
        text = match[1] if match[1] is not None else match[2].partition("\n")[0]
        yield from _paragraphs(_line(source, match.start()), _without_code(text))


def _joined(comments: Iterable[_Comment]) -> Iterator[Block]:
    """Join comments that fill consecutive lines, at the same column, into one paragraph."""
    lines: list[_Comment] = []
    for comment in comments:
        if lines and not comment.continues(lines[-1]):
            yield _block(lines)
            lines = []
        lines.append(comment)
    if lines:
        yield _block(lines)


def _block(lines: list[_Comment]) -> Block:
    return Block(lines[0].line, _without_code("\n".join(each.text for each in lines)))


def _markdown(source: str) -> Iterator[Block]:
    text = re.sub(r"^(```|~~~).*?^\1", _blank, source, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", _blank, text, flags=re.DOTALL)
    for match in re.finditer(r"^\|.*$", text, flags=re.MULTILINE):
        for cell in re.split(r"(?<!\\)\|", match[0]):
            yield Block(_line(text, match.start()), _unmarked(cell))
    text = re.sub(r"^(?:\||#+ ).*$", "", text, flags=re.MULTILINE)
    # A list's item is a paragraph.
    text = re.sub(r"^(?=\s*(?:[-*]|\d+\.) )", "\x00", text, flags=re.MULTILINE)
    text = re.sub(r"\x00\s*(?:[-*]|\d+\.) ", "\x00", text)
    yield from _paragraphs(1, _unmarked(text))


def _unmarked(text: str) -> str:
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", _without_code(text))
    return text.replace("**", "")


_BREAKING = (
    r"</?(?:p|h\d|li|ul|ol|td|th|tr|div|section|aside|nav|title|dt|dd|dl|label|button|option|main)"
    r"\b[^>]*>"
)


def _template(source: str) -> Iterator[Block]:
    for match in re.finditer(r"(?:aria-label|title|placeholder)=\"([^\"{]*)\"", source):
        yield Block(_line(source, match.start()), match[1])
    for statement in re.finditer(r"\{[%{].*?[%}]\}", source, flags=re.DOTALL):
        for literal in re.finditer(r"\"([^\"]+)\"", statement[0]):
            yield Block(_line(source, statement.start() + literal.start()), literal[1])
    text = re.sub(r"<(script|style)\b.*?</\1>|\{#.*?#\}", _blank, source, flags=re.DOTALL)
    text = re.sub(r"\{%.*?%\}", _blank, text, flags=re.DOTALL)
    text = re.sub(r"\{\{.*?\}\}", _code, text, flags=re.DOTALL)
    text = re.sub(_BREAKING, lambda match: "\x00" + _blank(match), text)
    text = re.sub(r"<code>.*?</code>", _code, text, flags=re.DOTALL)
    yield from _paragraphs(1, re.sub(r"<[^>]*>", _blank, text))


def _paragraphs(line: int, text: str) -> Iterator[Block]:
    """Split at blank lines and at breaks."""
    start = 0
    for match in [*re.finditer(r"\n[ \t]*\n|\x00", text), None]:
        end = match.start() if match else len(text)
        if text[start:end].strip():
            yield Block(line + text.count("\n", 0, start), text[start:end])
        start = match.end() if match else end


def _without_code(text: str) -> str:
    return re.sub(r"`[^`]*`", _code, text)


def _code(match: re.Match[str]) -> str:
    return "X" + _blank(match)


def _blank(match: re.Match[str]) -> str:
    """Keep the line breaks, so that later lines keep their numbers."""
    return "\n" * match[0].count("\n")


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1
