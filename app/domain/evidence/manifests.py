"""Manifests: the samples of a sealed suite, fixed before any run of it."""

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from app.domain.errors import Fault
from app.domain.evidence.rows import (
    FAULT_LIMIT,
    hash64,
    is_sha256,
    parsed_row,
    prompt_cluster,
    sample_key,
)
from app.domain.evidence.suites import Suite

MANIFEST_FILE: Final = "manifest.jsonl"
MOST_SAMPLES: Final = 1_000_000
_REQUIRED: Final = ("id", "prompt_sha256", "persona", "locale")
_FIELDS: Final = frozenset({*_REQUIRED, "cluster"})

CellName = tuple[str, str]
"""A persona and a locale."""


def _integers() -> "array[int]":
    return array("Q")


@dataclass(frozen=True, slots=True)
class ManifestCell:
    """The samples of a persona and locale: `keys` ascend, and `clusters[i]` is that of `keys[i]`.

    Keys and clusters are as in `Scores`.
    """

    keys: "array[int]" = field(default_factory=_integers)
    clusters: "array[int]" = field(default_factory=_integers)


@dataclass(frozen=True, slots=True)
class Manifest:
    cells: Mapping[CellName, ManifestCell]

    @property
    def samples(self) -> int:
        return sum(len(cell.keys) for cell in self.cells.values())


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """A sample in the canonical form of a line (RFC 8785); a manifest has them in order of id."""

    id: str
    text: bytes


class ManifestReader:
    """Reads lines one after another; memory grows by about 50 bytes for each of them."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._cells: list[CellName] = [(p, c) for p in suite.personas for c in suite.locales]
        self._index = {cell: index for index, cell in enumerate(self._cells)}
        self._line = 0
        # By sample: the number of its line, that of its cell, and hashes.
        self._lines, self._places = array("L"), array("H")
        self._ids, self._prompts = _integers(), _integers()
        self._keys, self._clusters = _integers(), _integers()
        self.faults: list[Fault] = []

    @property
    def has_too_many_faults(self) -> bool:
        """Whether reading on is pointless: there are many faults, or too many lines."""
        return len(self.faults) >= FAULT_LIMIT or self._line > MOST_SAMPLES

    def take(self, line: bytes) -> ManifestLine | None:
        """Add a sample and return its canonical line; None if it is blank or has faults."""
        self._line += 1
        if self._line > MOST_SAMPLES:
            message = f"It has more than {MOST_SAMPLES:,} lines; split the suite."
            self.faults.append(Fault("too-large", message))
            return None
        if not line.strip():
            return None
        row, fault = parsed_row(line)
        found = [fault] if fault or row is None else list(self._row_faults(row))
        self.faults += [Fault(f.code, f"Line {self._line}: {f.message}") for f in found if f]
        return None if found or row is None else self._added(row)

    def finish(self) -> Manifest | None:
        """Return the manifest; None, and the first faults, if it has any."""
        if not self.faults:
            self.faults += self._repeated_ids()
            self.faults += self._contradictory_prompts()
            self.faults += self._empty_cells()
        if len(self.faults) >= FAULT_LIMIT:
            more = Fault("more", f"Reading stopped at line {self._line}.")
            self.faults[FAULT_LIMIT:] = [more]
        return None if self.faults else self._packed()

    def _row_faults(self, row: Mapping[str, object]) -> Iterator[Fault]:
        if unknown := sorted(set(row) - _FIELDS):
            yield Fault("unknown-field", f"The field {unknown[0][:40]!r} is unknown.")
        for name in (*_REQUIRED, *(["cluster"] if "cluster" in row else [])):
            if not _is_text(row.get(name)):
                yield Fault("text", f"{name} must be text; it is {row.get(name)!r:.40}.")
        prompt = row.get("prompt_sha256")
        if _is_text(prompt) and not is_sha256(prompt):
            yield Fault("prompt", "prompt_sha256 must have 64 hexadecimal digits in lower case.")
        for name, known in (("persona", self._suite.personas), ("locale", self._suite.locales)):
            if _is_text(row.get(name)) and row.get(name) not in known:
                message = f"{name} is {row.get(name)!r:.80}; {self._suite} has {', '.join(known)}."
                yield Fault(f"unknown-{name}", message)

    def _added(self, row: Mapping[str, object]) -> ManifestLine:
        identity, prompt = str(row["id"]), str(row["prompt_sha256"])
        cluster = row.get("cluster")
        self._lines.append(self._line)
        self._places.append(self._index[str(row["persona"]), str(row["locale"])])
        self._ids.append(hash64(identity))
        self._prompts.append(hash64(prompt))
        self._keys.append(sample_key(identity, prompt))
        self._clusters.append(
            prompt_cluster(prompt) if cluster is None else hash64(f"cluster {cluster}")
        )
        # For an object of strings, this is the form of RFC 8785.
        text = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return ManifestLine(identity, text.encode() + b"\n")

    def _repeated_ids(self) -> Iterator[Fault]:
        for first, second in _equal_neighbours(self._ids):
            lines = f"{self._lines[first]} and {self._lines[second]}"
            yield Fault("repeated-sample", f"The lines {lines} have the same id.")

    def _contradictory_prompts(self) -> Iterator[Fault]:
        """Yield a fault for each prompt that is in two cells or in two clusters."""
        for first, second in _equal_neighbours(self._prompts):
            lines = f"The lines {self._lines[first]} and {self._lines[second]} have the same prompt"
            ours, theirs = (self._cells[self._places[each]] for each in (first, second))
            if ours != theirs:
                message = f"{lines}, for {'/'.join(ours)} and for {'/'.join(theirs)}; hash the "
                yield Fault("prompt-in-two-cells", f"{message}whole input with its system prompt.")
            elif self._clusters[first] != self._clusters[second]:
                message = f"{lines} in different clusters; samples of a prompt are not independent."
                yield Fault("prompt-in-two-clusters", message)

    def _empty_cells(self) -> Iterator[Fault]:
        used = set(self._places)
        for index, (persona, locale) in enumerate(self._cells):
            if index not in used:
                yield Fault("empty-cell", f"There is no sample for {persona}/{locale}.")

    def _packed(self) -> Manifest:
        cells = [ManifestCell() for _ in self._cells]
        for each in sorted(range(len(self._keys)), key=self._keys.__getitem__):
            cell = cells[self._places[each]]
            cell.keys.append(self._keys[each])
            cell.clusters.append(self._clusters[each])
        return Manifest(dict(zip(self._cells, cells, strict=True)))


def _is_text(value: object) -> bool:
    """Return whether a value is a string that is neither empty nor has half a surrogate pair."""
    if not isinstance(value, str) or not value:
        return False
    return value.isascii() or not any("\ud800" <= mark <= "\udfff" for mark in value)


def _equal_neighbours(hashes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the positions of equal hashes, each with the position of the one before."""
    order = sorted(range(len(hashes)), key=hashes.__getitem__)
    for first, second in pairwise(order):
        if hashes[first] == hashes[second]:
            yield first, second
