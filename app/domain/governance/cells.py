"""The evaluation of one rule: a finding for each of its demands on each of its cells."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.domain.evidence.evaluation import CellKey, Evaluation
from app.domain.evidence.pooling import Pool, pooled
from app.domain.evidence.suites import Metric
from app.domain.governance.cell_runs import CellRuns, Qualification, cell_runs, recorded_mean
from app.domain.governance.comparison import Margin, Reference, compare
from app.domain.governance.findings import CellRef, Finding, Outcome
from app.domain.governance.looks import Counts, bound, evidence_of, looked, spent
from app.domain.governance.policies import Margins, Rule
from app.domain.statistics.levels import Demand


@dataclass(frozen=True, slots=True)
class References:
    """The references of a candidate: no incumbents if the channel served no other content."""

    incumbents: Sequence[Reference]
    base: Reference


@dataclass(frozen=True, slots=True)
class Subject:
    """The candidate of a rule: its version, its runs, and the number of its attempt.

    `attempt` is None unless the policy divides its level among the contents that were measured.
    """

    version: int
    evaluations: Sequence[Evaluation]
    attempt: int | None = None


def rule_findings(
    rule: Rule, subject: Subject, references: References, qualification: Qualification
) -> Iterable[Finding]:
    """Yield a finding for each demand and cell; the order of the runs does not matter."""
    runs = runs_by(rule, subject.evaluations)
    alpha = spent(rule.confidence, subject.attempt)
    if rule.suite_version is None:
        message = "The rule names no suite version; create the policy again, which fills it in."
        yield Finding(rule.metric, subject.version, Outcome.MISSING, message)
    if not (rule.personas and rule.locales):
        message = "The rule names no cell, so nothing can satisfy it; name personas and locales."
        yield Finding(rule.metric, subject.version, Outcome.MISSING, message)
    for persona in rule.personas:
        for locale in rule.locales:
            key = CellKey(rule.metric_name, persona, locale)
            blank = Finding(
                rule.metric, subject.version, Outcome.MISSING, "", cell=CellRef(persona, locale)
            )
            cell = cell_runs(runs, key, qualification)
            for limit in _limits(rule):
                yield _limit_finding(limit, cell, blank, alpha)
            yield from _margin_findings(rule, cell, blank, references, alpha)


def runs_by(rule: Rule, evaluations: Iterable[Evaluation]) -> list[Evaluation]:
    """Return the runs of the rule's suite version, in the order in which they were recorded."""
    wanted = (rule.suite_name, rule.suite_version)
    runs = [each for each in evaluations if (each.suite.name, each.suite.version) == wanted]
    return sorted(runs, key=lambda each: (each.recorded_at, each.id))


@dataclass(frozen=True, slots=True)
class _Limit:
    demand: Literal["samples", "at_least", "at_most"]
    value: float
    least: int

    @property
    def side(self) -> Demand:
        return "at_most" if self.demand == "at_most" else "at_least"

    @property
    def opposite(self) -> Demand:
        return "at_least" if self.demand == "at_most" else "at_most"

    def keeps(self, value: float) -> bool:
        return value <= self.value if self.demand == "at_most" else value >= self.value


def _limits(rule: Rule) -> list[_Limit]:
    """Return the limits on a cell; a rule that only compares still demands samples."""
    limits, least = [], max(rule.min_samples or 0, 1)
    if rule.at_least is not None:
        limits.append(_Limit("at_least", rule.at_least, least))
    if rule.at_most is not None:
        limits.append(_Limit("at_most", rule.at_most, least))
    return limits or [_Limit("samples", least, least)]


def _limit_finding(limit: _Limit, cell: CellRuns, blank: Finding, alpha: float) -> Finding:
    blank = replace(blank, demand=limit.demand, demanded=limit.value)
    fresh = cell.fresh(cell.qualified)
    if not fresh:
        return _unqualified(cell, blank, limit.least)
    failed = replace(
        blank,
        outcome=Outcome.FAILED,
        evaluation=fresh[-1].id,
        runs=len(fresh),
        level=min(run.level for run in fresh),
    )
    metric = fresh[-1].suite.metric(cell.key.metric)
    if metric is None or not all(metric.admits(run.cells[cell.key].mean) for run in cell.all):
        message = f"A score of {cell.key} is outside the range of its suite; void the evaluation."
        return replace(failed, message=message)
    evidence = evidence_of(metric, fresh, cell.key, limit.side)
    if evidence is None:
        message = f"{cell.key} cannot be tested: it was reported without samples; record them."
        return replace(failed, message=message)
    failed = replace(failed, observed=evidence.mean, samples=evidence.n)
    if evidence.n < limit.least:
        message = (
            f"{cell.key} has {evidence.n} independent samples; the rule demands {limit.least}. "
            "Repeating the same prompts adds none."
        )
        return replace(failed, message=message)
    if limit.demand == "samples":
        message = f"{cell.key} has {evidence.n} independent samples; {limit.least} were demanded."
        return replace(failed, outcome=Outcome.PASSED, message=message)
    return _kept(limit, cell, _tested(limit, cell, failed, metric, alpha), evidence.mean)


def _unqualified(cell: CellRuns, blank: Finding, least: int) -> Finding:
    """Return the finding on a cell that no qualified, recent run has measured."""
    failed = replace(blank, outcome=Outcome.FAILED)
    if cell.qualified:
        message = f"Every run of {cell.key} is older than the policy admits; record another."
        return replace(failed, message=message)
    if cell.refusal is not None:
        message = f"{cell.key} was measured, but the evaluation {cell.refusal}; record another."
        return replace(failed, message=message)
    message = f"No complete run measured {cell.key}; record one with at least {least} samples."
    return replace(blank, message=message)


def _tested(
    limit: _Limit, cell: CellRuns, failed: Finding, metric: Metric, alpha: float
) -> Finding:
    def is_testable(runs: Sequence[Evaluation]) -> bool:
        return _testable(limit, cell, metric, runs) is not None

    def bound_of(runs: Sequence[Evaluation], confidence: float) -> float | None:
        evidence = _testable(limit, cell, metric, cell.fresh(runs))
        return None if evidence is None else bound(metric, evidence, confidence, limit.side)

    looks = looked(cell.qualified, is_testable, bound_of, alpha, limit.keeps)
    if (look := looks.shown) is None:
        message = (
            f"{cell.key} was tested {looks.count} times, and none of those runs is recent enough "
            "now; evaluate a better version."
        )
        return replace(failed, looks=looks.count, message=message)
    failed = replace(
        failed,
        bound=look.bound,
        confidence=look.confidence,
        look=look.number,
        looks=looks.count,
    )
    side = "at least" if limit.side == "at_least" else "at most"
    shown = (
        f"At {100 * look.confidence:.4g} % confidence {cell.key} is {side} {look.bound:.4g} "
        f"({failed.observed:.4g} over {failed.samples} independent samples)"
    )
    if not looks.passed:
        message = f"{shown}, and {limit.value:g} was demanded; evaluate a better version."
        return replace(failed, message=message)
    if (objection := _objection(limit, cell, metric, alpha)) is not None:
        return replace(failed, observed=objection.value, message=objection.message)
    message = f"{shown}; {limit.value:g} was demanded."
    return replace(failed, outcome=Outcome.PASSED, message=message)


def _kept(limit: _Limit, cell: CellRuns, found: Finding, mean: float) -> Finding:
    """Return the finding, failed if the mean over the recent runs misses the limit."""
    if found.blocks or limit.keeps(mean):
        return found
    message = (
        f"{cell.key} passed at a look, but over its {found.runs} recent runs it is {mean:.4g}, and "
        f"{limit.value:g} was demanded; evaluate a better version."
    )
    return replace(found, outcome=Outcome.FAILED, message=message)


def _testable(
    limit: _Limit, cell: CellRuns, metric: Metric, runs: Sequence[Evaluation]
) -> Pool | Counts | None:
    evidence = evidence_of(metric, runs, cell.key, limit.side) if runs else None
    return None if evidence is None or evidence.n < limit.least else evidence


@dataclass(frozen=True, slots=True)
class _Objection:
    value: float
    message: str


def _objection(limit: _Limit, cell: CellRuns, metric: Metric, alpha: float) -> _Objection | None:
    """Return what the record says against a cell that passed at some look, if anything.

    A run that cannot pass the cell counts only where it misses the limit itself. Otherwise a large
    report that does not qualify would outweigh a bad run.
    """
    against = [run for run in cell.others if not limit.keeps(recorded_mean([run], cell.key))]
    counted = [*cell.qualified, *against]
    value = recorded_mean(counted, cell.key)
    if not limit.keeps(value):
        message = (
            f"{cell.key} passed at a look, but over all {len(counted)} runs that count it is "
            f"{value:.4g}, and {limit.value:g} was demanded; evaluate a better version."
        )
        return _Objection(value, message)
    for run in cell.others:
        if not run.partial or cell.key not in run.scores:
            continue
        pool = pooled([run.scores[cell.key]])
        if not limit.keeps(bound(metric, pool, 1 - alpha, limit.opposite)):
            message = (
                f"The partial run {run.id} refutes {cell.key}: it is {pool.mean:.4g} over {pool.n} "
                f"independent samples, and {limit.value:g} was demanded."
            )
            return _Objection(pool.mean, message)
    return None


def _margin_findings(
    rule: Rule, cell: CellRuns, blank: Finding, references: References, alpha: float
) -> Iterable[Finding]:
    margins, least = rule.no_worse_than or Margins(), max(rule.min_samples or 0, 1)
    if margins.incumbent is not None:
        margin = Margin("incumbent", margins.incumbent, alpha, least)
        if references.incumbents:
            yield compare(margin, cell, blank, references.incumbents)
        else:
            yield replace(
                blank,
                outcome=Outcome.NOT_APPLICABLE,
                demand="incumbent",
                margin=margins.incumbent,
                message="The channel has served no other content to compare with.",
            )
    if margins.base is not None:
        margin = Margin("base", margins.base, alpha, least)
        yield compare(margin, cell, blank, [references.base])
