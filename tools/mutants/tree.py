"""A copy of the repository in which one mutation at a time replaces the original text."""

import compileall
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from tools.mutants.mutation import Edit, Mutation, edited

_LEFT_OUT: Final = (
    *(".git", ".venv", "node_modules", "build", "data", "dist"),
    *("__pycache__", ".*_cache", ".hypothesis", ".coverage*", "*.egg-info"),
)


@dataclass(slots=True)
class Tree:
    """A copy that tests run in. Only one child process uses it at a time."""

    root: Path
    _versions: Iterator[int] = field(default_factory=lambda: count(1))

    @contextmanager
    def mutated(self, mutations: Sequence[Mutation]) -> Iterator[None]:
        """Apply mutations that do not overlap until the end of the block."""
        edits: dict[str, list[Edit]] = defaultdict(list)
        for mutation in mutations:
            edits[mutation.path].append(mutation.edit)
        originals = {path: (self.root / path).stat() for path in edits}
        texts = {path: (self.root / path).read_text() for path in edits}
        try:
            for path, of_file in edits.items():
                self._write(path, edited(texts[path], of_file))
            yield
        finally:
            for path, text in texts.items():
                (self.root / path).write_text(text)
                before = originals[path]
                os.utime(self.root / path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def _write(self, path: str, text: str) -> None:
        """Write a changed module with a time of its own, so that no compiled form is taken."""
        file = self.root / path
        file.write_text(text)
        future = file.stat().st_mtime + 10 * next(self._versions)
        os.utime(file, (future, future))


def copied(repository: Path, folder: Path) -> Tree:
    """Copy the working tree, with changes that are not committed."""
    shutil.copytree(repository, folder, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)
    # Compiled once, and by no child: a child could leave the compiled form of a mutation behind.
    compileall.compile_dir(folder, quiet=2)
    return Tree(folder)
