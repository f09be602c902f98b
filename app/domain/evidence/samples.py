"""Samples: one row each, and the cells recomputed from them."""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from app.domain.errors import Fault
from app.domain.evidence.evaluation import CellKey, CellResult, Scores
from app.domain.evidence.manifests import CellName, Manifest
from app.domain.evidence.rows import (
    FAULT_LIMIT,
    hash64,
    is_sha256,
    parsed_row,
    prompt_cluster,
    sample_key,
)
from app.domain.evidence.suites import Metric, MetricKind, Suite

# Evaluators print rounded aggregates: they may differ by half a unit in the third decimal, relative
# above 1. The excess lets ties round either way: 1/16 may be printed as 0.062 or as 0.063.
_AGREEMENT: Final = 5e-4 * (1 + 1e-9)
# Squares of scores are summed, and must not overflow.
GREATEST_SCORE: Final = 1e100
_FIELDS: Final = frozenset(
    {"id", "persona", "locale", "prompt_sha256", "response_sha256", "scores"}
)


@dataclass(frozen=True, slots=True)
class SampleSet:
    """All rows of an evaluation, by cell.

    Attributes:
        scores: The samples of each cell; on a sealed suite, each cell has all its samples.
        uneven: The cells that lack some samples of their persona and locale; none if sealed.
        missing: The number of samples of a sealed suite that no row scores, by cell.
    """

    scores: Mapping[CellKey, Scores]
    uneven: tuple[CellKey, ...] = ()
    missing: Mapping[CellKey, int] = field(default_factory=dict)

    def results(self) -> list[CellResult]:
        """Return the recomputed aggregates, by cell."""
        return [CellResult(key, self.scores[key].cell()) for key in sorted(self.scores)]


def read_samples(
    lines: Iterable[bytes], suite: Suite, *, sparse: bool = False, manifest: Manifest | None = None
) -> tuple[SampleSet | None, tuple[Fault, ...]]:
    """Return the samples of a JSON Lines file, or its first faults.

    Unless rows are `sparse`, a cell that lacks samples of its persona and locale is uneven.
    With the `manifest` of a sealed suite, each row must be one of its samples, and a score that is
    missing is the worst value of its metric.
    Memory grows with the numbers, not with the text: about 100 bytes for each row.
    """
    reader = _Reader(suite) if manifest is None else _SealedReader(suite, manifest)
    faults: list[Fault] = []
    for number, line in enumerate(lines, start=1):
        found = list(reader.take(line))
        # Lines converted from another tool's files are unknown to their sender: name the sample.
        place = f"Sample {reader.name}" if sparse and reader.name else f"Line {number}"
        faults += [Fault(fault.code, f"{place}: {fault.message}") for fault in found]
        if len(faults) >= FAULT_LIMIT:
            faults[FAULT_LIMIT:] = [Fault("more", f"Reading stopped at line {number}.")]
            return None, tuple(faults)
    if not reader.has_scores and not faults:
        faults.append(Fault("no-samples", "There is no sample with a score."))
    return (None, tuple(faults)) if faults else (reader.finished(sparse=sparse), ())


def agrees(reported: float, recomputed: float) -> bool:
    """Return whether a reported mean equals the recomputed one, up to the rounding of tools."""
    return abs(reported - recomputed) <= _AGREEMENT * max(1.0, abs(recomputed))


def disagreements(samples: SampleSet, reported: Sequence[CellResult]) -> Iterator[Fault]:
    """Yield a fault for each reported aggregate that the samples do not confirm."""
    for result in reported:
        scores = samples.scores.get(result.key)
        if scores is None:
            yield Fault("disagrees", f"{result.key} is reported, but no sample has it.")
            continue
        cell = scores.cell()
        if result.cell.samples != cell.samples or not agrees(result.cell.mean, cell.mean):
            yield Fault(
                "disagrees",
                f"{result.key} is reported as {result.cell.mean:g} of {result.cell.samples}, and "
                f"the samples give {cell.mean:g} of {cell.samples}.",
            )


class _Reader:
    """Reads rows one after another, and groups their scores by cell."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._metrics = {metric.name: metric for metric in suite.metrics}
        self._seen: set[int] = set()
        self.name = ""
        self._rows: dict[CellName, int] = {}
        self.scores: dict[CellKey, Scores] = {}

    @property
    def has_scores(self) -> bool:
        return bool(self.scores)

    def take(self, line: bytes) -> Iterator[Fault]:
        """Add a row, or yield its faults; `name` is then its sample's id, if it has one."""
        self.name = ""
        if not line.strip():
            return
        row, fault = parsed_row(line)
        if fault is not None or row is None:
            yield from [fault] if fault else []
            return
        faults = list(self._faults(row)) or list(self._manifest_faults(row))
        yield from faults
        if not faults:
            self._add(row)

    def finished(self, *, sparse: bool) -> SampleSet:
        uneven = [
            key
            for key, scores in self.scores.items()
            if not sparse and len(scores.keys) < self._rows[key.persona, key.locale]
        ]
        return SampleSet(self.scores, tuple(sorted(uneven)))

    def _faults(self, row: dict[str, object]) -> Iterator[Fault]:
        if unknown := sorted(set(row) - _FIELDS):
            yield Fault("unknown-field", f"The field {unknown[0][:40]!r} is unknown.")
        identity = row.get("id")
        if not isinstance(identity, str) or not identity:
            yield Fault("sample-id", "id must be a string that names the sample.")
        else:
            self.name = f"{identity[:120]!r}"
            yield from self._repetition(identity)
        prompt = row.get("prompt_sha256")
        if not (prompt is None or isinstance(prompt, str)):
            yield Fault("prompt", "prompt_sha256 must be a string.")
        response = row.get("response_sha256")
        if response is not None and not is_sha256(response):
            message = "response_sha256 must have 64 hexadecimal digits in lower case."
            yield Fault("response", message)
        for name, known in (("persona", self._suite.personas), ("locale", self._suite.locales)):
            if row.get(name) not in known:
                message = f"{name} is {row.get(name)!r:.80}; {self._suite} has {', '.join(known)}."
                yield Fault(f"unknown-{name}", message)
        scores = row.get("scores")
        if not isinstance(scores, dict):
            yield Fault("scores", "scores must map metrics to numbers.")
            return
        for name, value in scores.items():
            yield from self._score_faults(name, value)

    def _repetition(self, identity: str) -> Iterator[Fault]:
        digest = hash64(identity)
        if digest in self._seen:
            yield Fault("duplicate-sample", f"The sample {identity[:80]!r} occurs twice.")
        self._seen.add(digest)

    def _manifest_faults(self, _row: Mapping[str, object]) -> Iterator[Fault]:
        """Yield a fault unless a row without other faults is a sample of the manifest."""
        yield from ()

    def _score_faults(self, name: str, value: object) -> Iterator[Fault]:
        metric = self._metrics.get(name)
        if metric is None:
            known = ", ".join(self._metrics)
            yield Fault(
                "unknown-metric", f"{self._suite} has no metric {name[:40]!r}; it has {known}."
            )
        elif value is not None and not _is_score(metric, value):
            message = f"{name} is {value!r:.40}; it must be {_allowed(metric)}."
            yield Fault("value-out-of-range", message)

    def _add(self, row: Mapping[str, object]) -> None:
        identity, persona, locale = str(row["id"]), str(row["persona"]), str(row["locale"])
        scores = cast("Mapping[str, float | None]", row["scores"])
        prompt = str(row.get("prompt_sha256") or "")
        key = sample_key(identity, prompt)
        cluster = prompt_cluster(prompt) if prompt else hash64(f"id {identity}")
        self._rows[persona, locale] = self._rows.get((persona, locale), 0) + 1
        for name, value in scores.items():
            if value is not None:
                column = self.scores.setdefault(CellKey(name, persona, locale), Scores())
                column.keys.append(key)
                column.clusters.append(cluster)
                column.values.append(float(value))


class _SealedReader(_Reader):
    """Fills the cells of a manifest, in which each score is the worst until a row has another."""

    def __init__(self, suite: Suite, manifest: Manifest) -> None:
        super().__init__(suite)
        self._manifest = manifest
        self._taken = {name: bytearray(len(cell.keys)) for name, cell in manifest.cells.items()}
        self._scored: Counter[CellKey] = Counter()
        self._place: tuple[CellName, int] = (("", ""), 0)
        for (persona, locale), cell in manifest.cells.items():
            for metric in suite.metrics:
                worst = array("d", [metric.worst]) * len(cell.keys)
                key = CellKey(metric.name, persona, locale)
                self.scores[key] = Scores(cell.keys, worst, cell.clusters)

    @property
    def has_scores(self) -> bool:
        return bool(self._scored)

    def finished(self, *, sparse: bool) -> SampleSet:  # noqa: ARG002 - rows of a manifest are whole
        missing = {key: len(column.keys) - self._scored[key] for key, column in self.scores.items()}
        return SampleSet(self.scores, missing=missing)

    def _repetition(self, identity: str) -> Iterator[Fault]:  # noqa: ARG002 - checked by place
        yield from ()

    def _manifest_faults(self, row: Mapping[str, object]) -> Iterator[Fault]:
        identity, name = str(row["id"]), (str(row["persona"]), str(row["locale"]))
        key = sample_key(identity, str(row.get("prompt_sha256") or ""))
        position = self._position(name, key)
        if position is None:
            others = [o for o in self._manifest.cells if self._position(o, key) is not None]
            where = f"; it is one of {'/'.join(others[0])}" if others else ""
            message = f"The manifest has no sample {identity[:80]!r} with this prompt_sha256 for "
            yield Fault("not-in-manifest", f"{message}{'/'.join(name)}{where}.")
        elif self._taken[name][position]:
            yield Fault("duplicate-sample", f"The sample {identity[:80]!r} occurs twice.")
        else:
            self._taken[name][position] = 1
            self._place = name, position

    def _position(self, name: CellName, key: int) -> int | None:
        keys = self._manifest.cells[name].keys
        position = bisect_left(keys, key)
        return position if position < len(keys) and keys[position] == key else None

    def _add(self, row: Mapping[str, object]) -> None:
        (persona, locale), position = self._place
        for metric, value in cast("Mapping[str, float | None]", row["scores"]).items():
            if value is not None:
                key = CellKey(metric, persona, locale)
                self.scores[key].values[position] = float(value)
                self._scored[key] += 1


def _allowed(metric: Metric) -> str:
    if metric.kind is MetricKind.PROPORTION:
        return "0 or 1"
    low, high = metric.range
    return f"a number in [{max(low, -GREATEST_SCORE):g}, {min(high, GREATEST_SCORE):g}]"


def _is_score(metric: Metric, value: object) -> bool:
    if isinstance(value, bool):
        return metric.kind is MetricKind.PROPORTION
    if not isinstance(value, int | float):
        return False
    if metric.kind is MetricKind.PROPORTION:
        return value in (0, 1)
    return abs(value) <= GREATEST_SCORE and metric.admits(float(value))
