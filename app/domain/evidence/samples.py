"""Samples: one row each, and the cells recomputed from them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from app.domain.errors import Fault
from app.domain.evidence.evaluation import CellKey, CellResult, Scores
from app.domain.evidence.rows import FAULT_LIMIT, hash64, parsed_row, prompt_cluster, sample_key
from app.domain.evidence.suites import Metric, MetricKind, Suite

# Evaluators print rounded aggregates: they may differ by half a unit in the third decimal, relative
# above 1. The excess lets ties round either way: 1/16 may be printed as 0.062 or as 0.063.
_AGREEMENT: Final = 5e-4 * (1 + 1e-9)
# Squares of scores are summed, and must not overflow.
GREATEST_SCORE: Final = 1e100
_FIELDS: Final = frozenset({"id", "persona", "locale", "prompt_sha256", "scores"})


@dataclass(frozen=True, slots=True)
class SampleSet:
    """All rows of an evaluation, by cell; `uneven` lists the cells that lack some samples."""

    scores: Mapping[CellKey, Scores]
    uneven: tuple[CellKey, ...]

    def results(self) -> list[CellResult]:
        """Return the recomputed aggregates, by cell."""
        return [CellResult(key, self.scores[key].cell()) for key in sorted(self.scores)]


def read_samples(
    lines: Iterable[bytes], suite: Suite, *, sparse: bool = False
) -> tuple[SampleSet | None, tuple[Fault, ...]]:
    """Return the samples of a JSON Lines file, or its first faults.

    Unless rows are `sparse`, a cell that lacks samples of its persona and locale is uneven.
    Memory grows with the numbers, not with the text: about 100 bytes for each row.
    """
    reader = _Reader(suite)
    faults: list[Fault] = []
    for number, line in enumerate(lines, start=1):
        found = list(reader.take(line))
        # Lines converted from another tool's files are unknown to their sender: name the sample.
        place = f"Sample {reader.name}" if sparse and reader.name else f"Line {number}"
        faults += [Fault(fault.code, f"{place}: {fault.message}") for fault in found]
        if len(faults) >= FAULT_LIMIT:
            faults[FAULT_LIMIT:] = [Fault("more", f"Reading stopped at line {number}.")]
            return None, tuple(faults)
    if not reader.scores and not faults:
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
        self._rows: dict[tuple[str, str], int] = {}
        self.scores: dict[CellKey, Scores] = {}

    def take(self, line: bytes) -> Iterator[Fault]:
        """Add a row, or yield its faults; `name` is then its sample's id, if it has one."""
        self.name = ""
        if not line.strip():
            return
        row, fault = parsed_row(line)
        if fault is not None or row is None:
            yield from [fault] if fault else []
            return
        faults = list(self._faults(row))
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
