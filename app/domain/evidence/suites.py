"""Suites: the definition of a measurement, registered before results can be reported for it."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from app.domain.errors import Fault
from app.domain.naming import Json, canonical_json
from app.domain.strict_json import quoted

MOST_CELLS: Final = 10_000
"""Most cells of a sealed suite: every run of it has all of them."""


class MetricKind(StrEnum):
    """A proportion scores each sample 0 or 1; a mean scores it with any number in its range."""

    PROPORTION = "proportion"
    MEAN = "mean"


class ScorerKind(StrEnum):
    """A rule is a program, a model is a judge that answers a prompt, a human is an annotator."""

    RULE = "rule"
    MODEL = "model"
    HUMAN = "human"


@dataclass(frozen=True, slots=True)
class Scorer:
    """The scorer of a metric; `digest` is that of its code, judge prompt or guideline."""

    kind: ScorerKind
    digest: str


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    kind: MetricKind
    higher_is_better: bool
    minimum: float | None = None
    maximum: float | None = None
    scorer: Scorer | None = None

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest value that a sample, and therefore a mean, can have."""
        if self.kind is MetricKind.PROPORTION:
            return 0.0, 1.0
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        return low, high

    @property
    def worst(self) -> float:
        """The score of a missing sample of a sealed suite; infinite without such a bound."""
        low, high = self.range
        return low if self.higher_is_better else high

    def admits(self, value: float) -> bool:
        low, high = self.range
        return math.isfinite(value) and low <= value <= high


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite version.

    Attributes:
        dataset_digest: The digest of the data set; of a sealed suite, that of its manifest.
        sealed: Whether a manifest fixes the samples of every run.
        settings: Settings that every run must state with the same values.
    """

    name: str
    version: str
    dataset_digest: str
    personas: tuple[str, ...]
    locales: tuple[str, ...]
    metrics: tuple[Metric, ...] = field(default_factory=tuple)
    sealed: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    def metric(self, name: str) -> Metric | None:
        return next((metric for metric in self.metrics if metric.name == name), None)


def suite_faults(suite: Suite) -> tuple[Fault, ...]:
    """Return every contradiction within the suite."""
    faults = [
        *_repeated("persona", suite.personas),
        *_repeated("locale", suite.locales),
        *_repeated("metric", [metric.name for metric in suite.metrics]),
    ]
    for metric in suite.metrics:
        faults += _range_faults(metric)
        if suite.sealed:
            faults += _worst_faults(metric)
    cells = len(suite.personas) * len(suite.locales) * len(suite.metrics)
    if suite.sealed and cells > MOST_CELLS:
        message = f"It has {cells:,} cells; a sealed suite has at most {MOST_CELLS:,}."
        faults.append(Fault("too-many-cells", message))
    return tuple(faults)


def _worst_faults(metric: Metric) -> Iterator[Fault]:
    if not math.isfinite(metric.worst):
        bound = "minimum" if metric.higher_is_better else "maximum"
        message = f"{metric.name} has no {bound}, which a missing sample of a sealed suite scores."
        yield Fault("no-worst-value", message)


def _repeated(kind: str, names: Sequence[str]) -> list[Fault]:
    faults = [
        Fault(f"{kind}-repeated", f"The {kind} {name} is listed {count} times; list it once.")
        for name, count in Counter(names).items()
        if count > 1
    ]
    spellings: dict[str, str] = {}
    for name in dict.fromkeys(names):
        first = spellings.setdefault(name.casefold(), name)
        if first != name:
            message = f"The {kind} {name} differs from {first} by case only; list one of them."
            faults.append(Fault(f"{kind}-repeated", message))
    return faults


def _range_faults(metric: Metric) -> list[Fault]:
    bounds = [bound for bound in (metric.minimum, metric.maximum) if bound is not None]
    if not all(map(math.isfinite, bounds)):
        return [Fault("range-not-finite", f"The range of {metric.name} must be finite numbers.")]
    if metric.kind is MetricKind.PROPORTION and bounds not in ([], [0.0, 1.0]):
        message = f"{metric.name} is a proportion, so its range is 0 to 1; leave it out."
        return [Fault("range-of-proportion", message)]
    low, high = metric.range
    if low >= high:
        message = f"The minimum of {metric.name} must be below its maximum."
        return [Fault("range-empty", message)]
    return []


def setting_faults(suite: Suite, settings: Mapping[str, Json]) -> Iterator[Fault]:
    """Yield a fault for each setting that the suite pins and a run does not state equal.

    A setting that is not stated is null, as tools leave those out.
    """
    for name, pinned in suite.settings.items():
        stated = settings.get(name)
        if canonical_json(stated) != canonical_json(pinned):
            message = f"{suite} pins {quoted(name)} to {_shown(pinned)}; the run says "
            yield Fault("setting-differs", f"{message}{_shown(stated)}.")


def _shown(value: Json) -> str:
    return quoted(value) if isinstance(value, str) else quoted(canonical_json(value).decode())
