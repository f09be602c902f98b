"""The list of survivors that are accepted, each with the reason.

An entry has three lines: where it is, the changed text, and the reason.

    app/domain/example.py :: Class.method :: boundary
        a < b
        Why no test can or need notice the change.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.mutants.mutation import Identity, Mutation
from tools.mutants.operators import mutations_of

_LINES_OF_AN_ENTRY = 3


class MalformedListError(ValueError):
    """The list of accepted survivors cannot be read; the message names the line."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A mutation, named by what outlives edits elsewhere, and why it may survive."""

    identity: Identity
    reason: str


def read(file: Path) -> list[Accepted]:
    """Return the entries of a list.

    Raises:
        MalformedListError: An entry lacks a part.
    """
    entries, block = [], list[tuple[int, str]]()
    for number, line in enumerate([*file.read_text().splitlines(), ""], start=1):
        if line.strip() and not line.startswith("#"):
            block.append((number, line.strip()))
        elif block:
            entries.append(_entry(block))
            block = []
    return entries


def _entry(block: list[tuple[int, str]]) -> Accepted:
    number, head = block[0]
    place = tuple(part.strip() for part in head.split("::"))
    if len(block) != _LINES_OF_AN_ENTRY or len(place) != len(Identity._fields) - 1:
        raise MalformedListError(
            f"Line {number}: an entry is `file :: function :: operator`, the old text, the reason."
        )
    path, function, operator = place
    return Accepted(Identity(path, function, operator, block[1][1]), block[2][1])


def written(mutation: Mutation, reason: str) -> str:
    """Return the entry that would accept a mutation."""
    place = f"{mutation.path} :: {mutation.function} :: {mutation.operator}"
    return f"{place}\n    {mutation.old}\n    {reason}"


def stale(entries: Collection[Accepted], texts: Mapping[str, str]) -> list[Accepted]:
    """Return the entries whose change is no longer possible in the code."""
    paths = {entry.identity.path for entry in entries} & texts.keys()
    possible = {each.identity for path in paths for each in mutations_of(path, texts[path])}
    return [entry for entry in entries if entry.identity not in possible]
