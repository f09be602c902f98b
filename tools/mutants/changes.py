"""The lines that changed since a revision, as Git knows them."""

import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tools.mutants.mutation import Mutation

_FILE: Final = re.compile(r"^\+\+\+ b/(.+)$")
_HUNK: Final = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@")


def changed_lines(root: Path, revision: str) -> Mapping[str, set[int]]:
    """Return, for each file of the application, the numbers of lines added since `revision`.

    The comparison is with the point where the branch left `revision`, and includes changes that
    are not committed.
    """
    base = _git(root, "merge-base", revision, "HEAD").strip()
    return parsed(_git(root, "diff", "--unified=0", "--no-color", base, "--", "app"))


def parsed(diff: str) -> Mapping[str, set[int]]:
    """Return the added lines of a diff without context, by file."""
    found: dict[str, set[int]] = defaultdict(set)
    path = ""
    for line in diff.splitlines():
        if named := _FILE.match(line):
            path = named[1]
        elif hunk := _HUNK.match(line):
            first, length = int(hunk[1]), int(hunk[2] or 1)
            found[path].update(range(first, first + length))
    return found


def touches(mutation: Mutation, changed: Mapping[str, set[int]]) -> bool:
    """Whether a mutation is in a changed line."""
    lines = range(mutation.line, mutation.last_line + 1)
    return not changed.get(mutation.path, set()).isdisjoint(lines)


def _git(root: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    ended = subprocess.run(  # noqa: S603 - our own command
        command, cwd=root, check=True, capture_output=True, text=True
    )
    return ended.stdout
