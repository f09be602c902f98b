"""Measure plain English: `python -m tests.support.prose [PATH…]` lists offenders by file.

A sentence that opens with a free relative clause (`Whoever can see it …`) hides its subject, and
archaic words make readers stop. Both are counted in docstrings, comments, messages, Markdown and
page templates.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.prose_sources import Block, blocks_in

ROOT = Path(__file__).parents[2]
MARKDOWN = ("*.md", "docs/**/*.md", "benchmarks/*.md")
CODE = (
    *(f"{folder}/**/*.py" for folder in ("app", "benchmarks", "demo", "tools", "migrations")),
    *("tests/support/*.py", "docker/**/*", "docker-compose.yml", "Makefile", "pyproject.toml"),
    *("app/pages/templates/*.html", "app/pages/static/pages.*"),
)

FREE = (
    r"whoever|whatever|whom|what (?:is|was|are|were|it|they|one|we|somebody|nobody|people|a|the)"
    r"|who (?:has|have|is|holds|may)"
)
ARCHAIC = (
    r"for ever|anew|beforehand|at hand|of ours|of theirs|of its own|all the same|is told|was told"
    r"|are told|hears? of|heard of|comes? by|had better|else (?=[a-z])|somebody|anybody|nobody"
    r"|meanwhile|from then on|from now on|as it stands|thing"
)
STARTS_FREE = re.compile(r"\**(?:What|Whatever|Whoever|Who|That which|Whom|Else|So that)\b")
HAS_FREE = re.compile(rf"\b(?:{FREE})\b", re.IGNORECASE)
HAS_ARCHAIC = re.compile(rf"\b(?:{ARCHAIC})\b", re.IGNORECASE)

_END = re.compile(r"(?<=[.!?:;])\s+(?=[A-Z`*“\"(])")
_SHORTEST = 3


@dataclass(frozen=True)
class Sentence:
    """A sentence of three words or more, and where it starts."""

    path: Path
    line: int
    text: str

    @property
    def faults(self) -> tuple[str, ...]:
        """The rules that the sentence breaks, by name."""
        found = []
        if STARTS_FREE.match(self.text):
            found.append("starts")
        if match := HAS_FREE.search(self.text):
            found.append(f"clause '{match[0].lower()}'")
        found += [f"word '{word.lower()}'" for word in HAS_ARCHAIC.findall(self.text)]
        return tuple(found)

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: [{', '.join(self.faults)}] {self.text}"


@dataclass(frozen=True)
class Measure:
    """How plain a set of sentences is."""

    sentences: tuple[Sentence, ...]

    @property
    def starting_free_percent(self) -> float:
        return self._percent("starts")

    @property
    def containing_free_percent(self) -> float:
        return self._percent("clause")

    @property
    def archaic_per_thousand_words(self) -> float:
        words = sum(len(each.text.split()) for each in self.sentences)
        archaic = sum(len(HAS_ARCHAIC.findall(each.text)) for each in self.sentences)
        return 1000 * archaic / max(words, 1)

    @property
    def offenders(self) -> tuple[Sentence, ...]:
        return tuple(each for each in self.sentences if each.faults)

    def _percent(self, rule: str) -> float:
        broken = sum(any(f.startswith(rule) for f in s.faults) for s in self.sentences)
        return 100 * broken / max(len(self.sentences), 1)

    def __str__(self) -> str:
        return (
            f"{len(self.sentences)} sentences, "
            f"{self.starting_free_percent:.1f} % start with a free relative clause, "
            f"{self.containing_free_percent:.1f} % contain one, "
            f"{self.archaic_per_thousand_words:.1f} archaic words in 1,000"
        )


def measure(paths: Iterable[Path]) -> Measure:
    """Measure files together; paths are shown relative to the project."""
    return Measure(tuple(s for path in paths for b in blocks_in(path) for s in _sentences(path, b)))


def files(*patterns: str) -> list[Path]:
    """Return the project's files that match any of the patterns."""
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(path for path in found if "vendor" not in path.parts)


def _sentences(path: Path, block: Block) -> Iterator[Sentence]:
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    start = 0
    for end in [*(match.end() for match in _END.finditer(block.text)), len(block.text)]:
        piece = block.text[start:end]
        line = block.line + block.text.count("\n", 0, start + len(piece) - len(piece.lstrip()))
        text = " ".join(piece.split())
        if len(text.split()) >= _SHORTEST:
            yield Sentence(shown, line, text)
        start = end


def _chosen(names: list[str]) -> list[Path]:
    if not names:
        return files(*MARKDOWN, *CODE)
    chosen: list[Path] = []
    for path in (Path(name).resolve() for name in names):
        chosen += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return chosen


def main(names: list[str]) -> None:
    """Print each file's offenders and its figures, then those of all files together."""
    chosen = _chosen(names)
    for path in chosen:
        found = measure([path])
        if found.offenders:
            print(*found.offenders, f"  {path.name}: {found}\n", sep="\n")  # noqa: T201
    print(f"all: {measure(chosen)}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
