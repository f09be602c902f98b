"""The comparison of a candidate with its references, sample by sample, within a margin."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.domain.evidence.evaluation import Evaluation
from app.domain.evidence.pooling import Pool, paired
from app.domain.evidence.suites import Metric
from app.domain.governance.cell_runs import CellRuns
from app.domain.governance.findings import Finding, Outcome
from app.domain.governance.looks import difference_bound, looked
from app.domain.statistics.levels import Demand


@dataclass(frozen=True, slots=True)
class Reference:
    """An incumbent or a base model: its name and its evaluations."""

    name: str
    evaluations: Sequence[Evaluation]


@dataclass(frozen=True, slots=True)
class Margin:
    """The largest deficit that is admitted, with the level and the pairs to show it."""

    demand: Literal["incumbent", "base"]
    value: float
    alpha: float
    least: int


def compare(
    margin: Margin, cell: CellRuns, blank: Finding, references: Sequence[Reference]
) -> Finding:
    """Return a finding on whether the candidate is within the margin of every reference.

    It must be within that of each (an intersection-union test, so the level needs no correction).
    The finding is of the first reference that refuses it, otherwise of the closest one.
    """
    blank = replace(blank, demand=margin.demand, margin=margin.value)
    findings = [_compared(margin, cell, blank, each) for each in references]
    refused = next((finding for finding in findings if finding.blocks), None)
    return refused or min(findings, key=_room)


def _room(finding: Finding) -> float:
    """Return how far a finding that passed is from its limit."""
    bound, demanded = finding.bound or 0.0, finding.demanded or 0.0
    return abs(bound - demanded)


def _compared(margin: Margin, cell: CellRuns, blank: Finding, reference: Reference) -> Finding:
    failed = replace(blank, outcome=Outcome.FAILED)
    measured = [each for each in cell.qualified if cell.key in each.scores]
    ours = cell.fresh(measured)
    if not ours:
        return _unmeasured(cell, blank)
    suite = ours[-1].suite
    failed = replace(
        failed, evaluation=ours[-1].id, runs=len(ours), level=min(run.level for run in ours)
    )
    theirs = _comparable(reference, cell, ours[-1])
    if not theirs:
        message = (
            f"{reference.name} has no complete evaluation of {cell.key} with samples by {suite} "
            "that qualifies; evaluate it first."
        )
        return replace(failed, message=message)
    metric = suite.metric(cell.key.metric)
    if metric is None:
        return replace(failed, message=f"{suite} has no metric {cell.key.metric}.")
    return _verdict(_Pairing(margin, metric, cell, measured, theirs), failed, reference)


def _unmeasured(cell: CellRuns, blank: Finding) -> Finding:
    if cell.fresh(cell.qualified):
        message = f"{cell.key} was recorded without samples, which a comparison needs; record them."
        return replace(blank, outcome=Outcome.FAILED, message=message)
    if cell.refusal is not None:
        message = f"{cell.key} was measured, but the evaluation {cell.refusal}; record another."
        return replace(blank, outcome=Outcome.FAILED, message=message)
    return replace(blank, message=f"No complete, recent run measured {cell.key}; record one.")


def _comparable(reference: Reference, cell: CellRuns, candidate: Evaluation) -> list[Evaluation]:
    """Return the reference's runs by the same suite version that qualify, of any age."""
    runs = [
        each
        for each in reference.evaluations
        if not each.partial
        and each.suite == candidate.suite
        and cell.key in each.scores
        and cell.qualification.refusal(each) is None
    ]
    return sorted(runs, key=lambda each: (each.recorded_at, each.id))


@dataclass(frozen=True, slots=True)
class _Pairing:
    """The runs of a candidate and of a reference, in the order in which they were recorded."""

    margin: Margin
    metric: Metric
    cell: CellRuns
    ours: Sequence[Evaluation]
    theirs: Sequence[Evaluation]

    @property
    def side(self) -> Demand:
        return "at_least" if self.metric.higher_is_better else "at_most"

    @property
    def demanded(self) -> float:
        return 0.0 - self.margin.value if self.metric.higher_is_better else self.margin.value

    def keeps(self, difference: float) -> bool:
        if self.side == "at_least":
            return difference >= self.demanded
        return difference <= self.demanded

    @property
    def steps(self) -> list[Evaluation]:
        """The runs of both sides together, each of which may allow another look."""
        return sorted([*self.ours, *self.theirs], key=lambda each: (each.recorded_at, each.id))

    def differences(self, ours: Iterable[Evaluation], theirs: Iterable[Evaluation]) -> Pool:
        low, high = self.metric.range
        worst = low - high if self.side == "at_least" else high - low
        key = self.cell.key
        return paired(
            [each.scores[key] for each in ours],
            [each.scores[key] for each in theirs],
            missing=worst,
        )

    def refutes(self, run: Evaluation) -> bool:
        """Return whether the samples that a run shares with the reference miss the margin.

        Only such a run counts if it cannot pass, so no other one outweighs it.
        """
        key = self.cell.key
        if key not in run.scores:
            return False
        pool = paired([run.scores[key]], [each.scores[key] for each in self.theirs], missing=None)
        return pool.n > 0 and not self.keeps(pool.mean)

    def is_testable(self, steps: Sequence[Evaluation]) -> bool:
        return self._pool(self.ours, steps) is not None

    def bound_of(self, steps: Sequence[Evaluation], confidence: float) -> float | None:
        pool = self._pool(self.cell.fresh(self.ours), steps)
        if pool is None:
            return None
        return difference_bound(self.metric, pool, confidence, self.side)

    def _pool(self, ours: Sequence[Evaluation], steps: Sequence[Evaluation]) -> Pool | None:
        """Return the differences between the runs among `steps`, if there are enough."""
        known = {each.id for each in steps}
        first = [each for each in ours if each.id in known]
        second = [each for each in self.theirs if each.id in known]
        pool = self.differences(first, second) if first and second else None
        return None if pool is None or pool.n < self.margin.least else pool


def _verdict(pairing: _Pairing, failed: Finding, reference: Reference) -> Finding:
    margin, key = pairing.margin, pairing.cell.key
    pool = pairing.differences(pairing.cell.fresh(pairing.ours), pairing.theirs)
    failed = replace(failed, observed=pool.mean, samples=pool.n, demanded=pairing.demanded)
    if pool.n < margin.least:
        message = (
            f"{key} has {pool.n} independent pairs with {reference.name}; the rule demands "
            f"{margin.least}. Repeating the same prompts adds none."
        )
        return replace(failed, message=message)
    looks = looked(
        pairing.steps, pairing.is_testable, pairing.bound_of, margin.alpha, pairing.keeps
    )
    if (look := looks.shown) is None:
        message = (
            f"{key} was compared {looks.count} times with {reference.name}, and no run that is "
            "recent enough was among them; evaluate a better version."
        )
        return replace(failed, looks=looks.count, message=message)
    failed = replace(
        failed,
        bound=look.bound,
        confidence=look.confidence,
        look=look.number,
        looks=looks.count,
    )
    side = "at least" if pairing.side == "at_least" else "at most"
    shown = (
        f"At {100 * look.confidence:.4g} % confidence {key} differs from {reference.name} by "
        f"{side} {look.bound:+.4g} ({pool.mean:+.4g} over {pool.n} independent pairs)"
    )
    if not looks.passed:
        message = f"{shown}; {pairing.demanded:+g} was demanded; evaluate a better version."
        return replace(failed, message=message)
    against = [each for each in pairing.cell.others if pairing.refutes(each)]
    recorded = pairing.differences([*pairing.ours, *against], pairing.theirs).mean
    if not (pairing.keeps(pool.mean) and pairing.keeps(recorded)):
        worse = min(pool.mean, recorded) if pairing.side == "at_least" else max(pool.mean, recorded)
        message = (
            f"{key} passed at a look, but over all runs that count it differs from "
            f"{reference.name} by {worse:+.4g}; {pairing.demanded:+g} was demanded."
        )
        return replace(failed, observed=worse, message=message)
    message = f"{shown}; {pairing.demanded:+g} was demanded."
    return replace(failed, outcome=Outcome.PASSED, message=message)
