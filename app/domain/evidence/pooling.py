"""Pools: the samples of several runs, reduced to one value for each cluster.

Samples of one prompt are not independent, and a second run of a suite asks the same prompts. The
mean of a cluster's samples is one observation; running a suite again makes it more precise, but
does not make more of them (Miller 2024, "Adding error bars to evals", section 2.2).
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.evidence.evaluation import Scores, exact_mean


@dataclass(frozen=True, slots=True)
class Pool:
    """The value of each cluster, and how they came about.

    Attributes:
        values: One mean for each cluster, in no particular order.
        rows: How many samples, or pairs of samples, they are the means of.
        repeated: Whether a value is the mean of several scores. The prompts and the number of runs
            decide that, never the scores, so a test may be chosen by it.
    """

    values: "array[float]"
    rows: int
    repeated: bool

    @property
    def n(self) -> int:
        """The number of independent observations."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """The mean of the clusters, independent of their order; there must be one."""
        return exact_mean(self.values)


def pooled(runs: Sequence[Scores]) -> Pool:
    """Return the pool of the runs' samples of one cell."""
    if len(runs) == 1:
        return _means(runs[0].clusters, runs[0].values, repeated=False)
    clusters, values = array("Q"), array("d")
    for run in runs:
        clusters += run.clusters
        values += run.values
    return _means(clusters, values, repeated=False)


def paired(ours: Sequence[Scores], theirs: Sequence[Scores], *, missing: float | None) -> Pool:
    """Return the differences, ours - theirs, sample by sample and then by cluster.

    A sample that several runs of one side have counts with its mean there. A sample that one side
    lacks counts as the difference `missing`, so leaving samples out never helps; without one it
    is left out, so there may be no pair.
    """
    several = max(len(ours), len(theirs)) > 1
    if not several and ours[0].keys == theirs[0].keys and ours[0].clusters == theirs[0].clusters:
        values = array("d", map(float.__sub__, ours[0].values, theirs[0].values))
        return _means(ours[0].clusters, values, repeated=False)
    first, second = _by_sample(ours), _by_sample(theirs)
    clusters = _clusters(theirs) | _clusters(ours)
    pairs = [
        (cluster, first[key] - second[key] if key in first and key in second else missing)
        for key, cluster in clusters.items()
    ]
    known = [(cluster, difference) for cluster, difference in pairs if difference is not None]
    columns = array("Q", (each for each, _ in known)), array("d", (each for _, each in known))
    return _means(*columns, repeated=several)


def _by_sample(runs: Sequence[Scores]) -> dict[int, float]:
    if len(runs) == 1 and len(set(runs[0].keys)) == len(runs[0].keys):
        return dict(zip(runs[0].keys, runs[0].values, strict=True))
    found: dict[int, list[float]] = {}
    for run in runs:
        for key, value in zip(run.keys, run.values, strict=True):
            found.setdefault(key, []).append(value)
    return {key: exact_mean(values) for key, values in found.items()}


def _clusters(runs: Sequence[Scores]) -> dict[int, int]:
    return {
        key: cluster for run in runs for key, cluster in zip(run.keys, run.clusters, strict=True)
    }


def _means(clusters: "array[int]", values: "array[float]", *, repeated: bool) -> Pool:
    """Return the pool of values by their clusters; `repeated` if a value is a mean already."""
    if len(set(clusters)) == len(clusters):  # the usual case
        return Pool(values, len(values), repeated)
    found: dict[int, list[float]] = {}
    for cluster, value in zip(clusters, values, strict=True):
        found.setdefault(cluster, []).append(value)
    means = array("d", (exact_mean(each) for each in found.values()))
    return Pool(means, len(values), repeated=True)
