"""The runs that measured one cell, divided by whether they can pass it or only count against it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.domain.evidence.evaluation import CellKey, Evaluation
from app.domain.evidence.pooling import pooled


@dataclass(frozen=True, slots=True)
class Qualification:
    """A policy's demands on runs.

    Attributes:
        refusal: Returns why a run can never pass a cell of the policy, or None.
        is_stale: Returns whether a run is too old by now.
    """

    refusal: Callable[[Evaluation], str | None]
    is_stale: Callable[[Evaluation], bool]


@dataclass(frozen=True, slots=True)
class CellRuns:
    """The runs that measured a cell, in the order in which they were recorded.

    Attributes:
        qualified: Complete runs that can pass the cell, unless they are stale.
        others: Runs that are partial or do not qualify: they can only count against the cell.
        refusal: Why the latest complete run among the others does not qualify, if there is one.
    """

    key: CellKey
    qualified: Sequence[Evaluation]
    others: Sequence[Evaluation]
    refusal: str | None
    qualification: Qualification

    @property
    def all(self) -> list[Evaluation]:
        return [*self.qualified, *self.others]

    def fresh(self, runs: Sequence[Evaluation]) -> list[Evaluation]:
        """Return the runs that are recent enough."""
        return [each for each in runs if not self.qualification.is_stale(each)]


def cell_runs(runs: Sequence[Evaluation], key: CellKey, qualification: Qualification) -> CellRuns:
    """Return the runs, given in the order of recording, that measured a cell."""
    measured = [each for each in runs if key in each.cells]
    refusals = ["is partial" if each.partial else qualification.refusal(each) for each in measured]
    found = list(zip(measured, refusals, strict=True))
    complete = [refusal for run, refusal in found if refusal is not None and not run.partial]
    return CellRuns(
        key=key,
        qualified=[run for run, refusal in found if refusal is None],
        others=[run for run, refusal in found if refusal is not None],
        refusal=complete[-1] if complete else None,
        qualification=qualification,
    )


def recorded_mean(runs: Sequence[Evaluation], key: CellKey) -> float:
    """Return the mean over everything that was recorded of a cell, by independent samples.

    Samples are pooled by cluster; reports without samples weigh as many as they claim to have.
    """
    scores = [run.scores[key] for run in runs if key in run.scores]
    cells = [run.cells[key] for run in runs if key not in run.scores]
    if not cells:
        return pooled(scores).mean
    means = [(cell.mean, cell.samples) for cell in cells]
    if scores:
        pool = pooled(scores)
        means.append((pool.mean, pool.n))
    return math.fsum(mean * n for mean, n in means) / sum(n for _, n in means)
