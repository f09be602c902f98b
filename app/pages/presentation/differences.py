"""The differences between two documents, path by path."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """The values at one path; None in the document that lacks it."""

    path: str
    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "same" if self.before == self.after else "changed"


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[Difference]:
    """Return every path of either document; without `before`, all values count as unchanged."""
    new = dict(_leaves(after))
    if before is None:
        return [Difference(path, value, value) for path, value in new.items()]
    old = dict(_leaves(before))
    paths = [*new, *(path for path in old if path not in new)]
    return [Difference(path, old.get(path), new.get(path)) for path in paths]


def _leaves(document: object, path: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(document, Mapping) and document:
        for name, value in document.items():
            yield from _leaves(value, f"{path}.{name}" if path else str(name))
    elif isinstance(document, list) and document:
        if all(isinstance(value, str) for value in document):
            yield path, ", ".join(document)
            return
        for position, value in enumerate(document, 1):
            yield from _leaves(value, f"{path} {position}" if path else str(position))
    elif path:
        yield path, _text(document)


def _text(value: object) -> str:
    if value is None or value in ({}, []):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
