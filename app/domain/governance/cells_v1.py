"""The evaluation of one rule: a finding for each of its demands on each of its cells."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.domain.evidence.evaluation import Cell, CellKey, Evaluation, possible_successes
from app.domain.evidence.suites import Metric, MetricKind
from app.domain.governance.comparison_v1 import Margin, Reference, compare
from app.domain.governance.findings import CellRef, Finding, Outcome
from app.domain.governance.policies import Margins, Rule
from app.domain.statistics import means, proportions

Disqualify = Callable[[Evaluation], str | None]


@dataclass(frozen=True, slots=True)
class References:
    """The references of a candidate; `incumbent` is None if there is no other version served."""

    incumbent: Reference | None
    base: Reference


def rule_findings(
    rule: Rule,
    evaluations: Sequence[Evaluation],
    *,
    version: int,
    references: References,
    disqualify: Disqualify,
) -> Iterable[Finding]:
    """Yield a finding for each demand and cell.

    Every evaluation that measured a cell counts: one failure fails the cell, so repeating an
    evaluation until it passes does not help. At least one of them must also qualify as evidence
    for the candidate. The order of the evaluations does not matter.
    """
    complete = [each for each in evaluations if not each.partial]
    complete.sort(key=lambda each: (each.finished_at, each.id))
    if not (rule.personas and rule.locales):
        message = "The rule names no cell, so nothing can satisfy it; name personas and locales."
        yield Finding(rule.metric, version, Outcome.MISSING, message)
    for persona in rule.personas:
        for locale in rule.locales:
            key = CellKey(rule.metric_name, persona, locale)
            blank = Finding(
                rule.metric, version, Outcome.MISSING, "", cell=CellRef(persona, locale)
            )
            for limit in _limits(rule):
                yield _limit_finding(rule, limit, key, blank, complete, disqualify)
            yield from _margin_findings(rule, key, blank, complete, references, disqualify)


@dataclass(frozen=True, slots=True)
class _Limit:
    demand: Literal["samples", "at_least", "at_most"]
    value: float


def _limits(rule: Rule) -> list[_Limit]:
    """Return the limits on a cell; a rule that only compares still demands samples."""
    limits = []
    if rule.at_least is not None:
        limits.append(_Limit("at_least", rule.at_least))
    if rule.at_most is not None:
        limits.append(_Limit("at_most", rule.at_most))
    return limits or [_Limit("samples", _least(rule))]


def _least(rule: Rule) -> int:
    return max(rule.min_samples or 0, 1)


def _limit_finding(
    rule: Rule,
    limit: _Limit,
    key: CellKey,
    blank: Finding,
    evaluations: Sequence[Evaluation],
    disqualify: Disqualify,
) -> Finding:
    blank = replace(blank, demand=limit.demand, demanded=limit.value)
    measured = [each for each in evaluations if key in each.cells]
    if not measured:
        need = "" if rule.min_samples is None else f" with at least {rule.min_samples} samples"
        message = f"No complete evaluation measured {key}; record one{need}."
        return replace(blank, message=message)
    tested = [_test(rule, limit, key, blank, evaluation) for evaluation in measured]
    return _worst_or_qualified(key, blank, measured, tested, disqualify)


def _test(
    rule: Rule, limit: _Limit, key: CellKey, blank: Finding, evaluation: Evaluation
) -> Finding:
    cell, suite = evaluation.cells[key], evaluation.suite
    observed = cell.mean if math.isfinite(cell.mean) else None
    tested = replace(blank, observed=observed, samples=cell.samples, evaluation=evaluation.id)
    failed, least = replace(tested, outcome=Outcome.FAILED), _least(rule)
    if cell.samples < least:
        message = (
            f"{key} has {cell.samples} samples; the rule demands {least} in every evaluation of it."
        )
        return replace(failed, message=message)
    metric = suite.metric(key.metric)
    if metric is None or not metric.admits(cell.mean):
        message = f"{key} is {cell.mean}, which {suite} does not admit; void the evaluation."
        return replace(failed, message=message)
    if limit.demand == "samples":
        message = f"{key} has {cell.samples} samples; {least} were demanded."
        return replace(tested, outcome=Outcome.PASSED, message=message)
    bound = _bound(metric, cell, limit, rule.confidence)
    if bound is None:
        return replace(failed, message=_untestable(metric, key, cell))
    return _verdict(replace(tested, bound=bound), bound, limit, key, rule.confidence)


def _untestable(metric: Metric, key: CellKey, cell: Cell) -> str:
    if metric.kind is MetricKind.PROPORTION:
        return f"{key} cannot be tested: {cell.mean} of {cell.samples} is not a success count."
    return (
        f"{key} cannot be tested: a bound on a mean needs {means.SMALLEST_SAMPLE} samples and a "
        f"stderr, and there are {cell.samples} samples."
    )


def _bound(metric: Metric, cell: Cell, limit: _Limit, confidence: float) -> float | None:
    """Return the one-sided bound on the side of the limit; None if there is none."""
    lower = limit.demand == "at_least"
    if metric.kind is MetricKind.MEAN:
        return _mean_bound(metric, cell, confidence, lower=lower)
    counts = possible_successes(cell)
    if counts is None:
        return None
    fewest, most = counts
    if lower:
        return proportions.lower_bound(fewest, cell.samples, confidence)
    return proportions.upper_bound(most, cell.samples, confidence)


def _mean_bound(metric: Metric, cell: Cell, confidence: float, *, lower: bool) -> float | None:
    if cell.stderr is None or not 0 <= cell.stderr < math.inf:
        return None
    worst = metric.range[0 if lower else 1]
    bound_of = means.lower_bound if lower else means.upper_bound
    bound = bound_of(
        cell.samples,
        cell.mean,
        cell.stderr,
        confidence,
        worst=worst if math.isfinite(worst) else None,
    )
    return bound if bound is not None and math.isfinite(bound) else None


def _verdict(
    tested: Finding, bound: float, limit: _Limit, key: CellKey, confidence: float
) -> Finding:
    lower = limit.demand == "at_least"
    passed = bound >= limit.value if lower else bound <= limit.value
    side = "at least" if lower else "at most"
    shown = f"At {100 * confidence:.10g} % confidence {key} is {side} {bound:.4g}"
    if passed:
        message = f"{shown}; {limit.value:g} was demanded."
        return replace(tested, outcome=Outcome.PASSED, message=message)
    message = (
        f"{shown} ({tested.observed:.4g} over {tested.samples} samples), and {limit.value:g} was "
        "demanded; a better version or more samples would show it."
    )
    return replace(tested, outcome=Outcome.FAILED, message=message)


def _margin_findings(
    rule: Rule,
    key: CellKey,
    blank: Finding,
    evaluations: Sequence[Evaluation],
    references: References,
    disqualify: Disqualify,
) -> Iterable[Finding]:
    margins = rule.no_worse_than or Margins()
    if margins.incumbent is not None:
        if references.incumbent is None:
            message = "The channel has no incumbent other than this version to compare with."
            yield replace(
                blank,
                outcome=Outcome.NOT_APPLICABLE,
                demand="incumbent",
                margin=margins.incumbent,
                message=message,
            )
        else:
            margin = Margin(margins.incumbent, rule.confidence, _least(rule))
            yield _comparison(margin, key, blank, evaluations, references.incumbent, disqualify)
    if margins.base is not None:
        margin = Margin(margins.base, rule.confidence, _least(rule))
        yield _comparison(margin, key, blank, evaluations, references.base, disqualify)


def _comparison(
    margin: Margin,
    key: CellKey,
    blank: Finding,
    evaluations: Sequence[Evaluation],
    reference: Reference,
    disqualify: Disqualify,
) -> Finding:
    blank = replace(blank, demand=reference.demand, margin=margin.value)
    measured = [each for each in evaluations if key in each.cells]
    # Aggregates cannot be paired: if some evaluations have samples, only those are compared.
    measured = [each for each in measured if key in each.scores] or measured
    compared = [compare(margin, key, blank, each, reference) for each in measured]
    return _worst_or_qualified(key, blank, measured, compared, disqualify)


def _worst_or_qualified(
    key: CellKey,
    blank: Finding,
    measured: Sequence[Evaluation],
    findings: Sequence[Finding],
    disqualify: Disqualify,
) -> Finding:
    """Return the first failure, otherwise the finding from a qualified evaluation, if any."""
    if not measured:
        return replace(blank, message=f"No complete evaluation measured {key}; record one.")
    for finding in findings:
        if finding.outcome is Outcome.FAILED:
            return finding
    reasons = [disqualify(evaluation) for evaluation in measured]
    if None in reasons:
        return findings[reasons.index(None)]
    message = f"{key} was measured, but the evaluation {reasons[-1]}; record another."
    return replace(findings[-1], outcome=Outcome.FAILED, message=message)
