"""One small change of the code that a test should notice."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Family(StrEnum):
    """Kinds of changes, from which a sample takes fixed shares."""

    GUARDS = "guards"
    LOCKS = "locks"
    CONDITIONS = "conditions"
    TIMES = "times"
    EFFECTS = "effects"
    CONSTANTS = "constants"
    QUERIES = "queries"
    ARITHMETIC = "arithmetic"


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """New text for the characters from `start` up to but not including `end`."""

    start: int
    end: int
    new: str

    def overlaps(self, other: "Edit") -> bool:
        return self.start < other.end and other.start < self.end


class Identity(NamedTuple):
    """The name of a mutation that outlives edits elsewhere in its file."""

    path: str
    function: str
    operator: str
    old: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """An edit of one file, with its place in the code and the sentence it would disprove.

    `occurrence` tells apart equal changes in one function; `old` is the changed text in one line.
    """

    path: str
    line: int
    last_line: int
    function: str
    family: Family
    operator: str
    old: str
    occurrence: int
    edit: Edit
    sentence: str

    @property
    def identity(self) -> Identity:
        return Identity(self.path, self.function, self.operator, self.old)

    @property
    def key(self) -> str:
        """A text that no other mutation has, the same at every revision."""
        return "\n".join([*self.identity, str(self.occurrence), self.edit.new])


def edited(text: str, edits: Iterable[Edit]) -> str:
    """Return `text` after edits that do not overlap."""
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.new + text[edit.end :]
    return text
