"""One rule against its cells: what was measured, what was demanded, what would satisfy it."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.domain.evidence.evaluation import Cell, CellKey, Evaluation, possible_successes
from app.domain.evidence.suites import Metric, MetricKind
from app.domain.governance.comparison import Margin, Reference, compare
from app.domain.governance.findings import CellRef, Finding, Outcome
from app.domain.governance.policies import Margins, Rule
from app.domain.statistics import means, proportions

Disqualify = Callable[[Evaluation], str | None]


@dataclass(frozen=True, slots=True)
class References:
    """What a candidate may be compared with; no incumbent if the candidate is it, or none is."""

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
    """Yield a finding per demand and cell.

    Every evaluation that measured a cell counts: one failure fails it, so running again until
    green does not help. At least one must also be qualified to speak for the candidate. The
    order in which evaluations are given does not matter.
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
    """Return the limits a cell is held against; one that is only compared must still exist."""
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
    judged = [_test(rule, limit, key, blank, evaluation) for evaluation in measured]
    return _worst_or_qualified(key, blank, measured, judged, disqualify)


def _test(
    rule: Rule, limit: _Limit, key: CellKey, blank: Finding, evaluation: Evaluation
) -> Finding:
    cell, suite = evaluation.cells[key], evaluation.suite
    observed = cell.mean if math.isfinite(cell.mean) else None
    seen = replace(blank, observed=observed, samples=cell.samples, evaluation=evaluation.id)
    failed, least = replace(seen, outcome=Outcome.FAILED), _least(rule)
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
        return replace(seen, outcome=Outcome.PASSED, message=message)
    bound = _bound(metric, cell, limit, rule.confidence)
    if bound is None:
        return replace(failed, message=_untestable(metric, key, cell))
    return _verdict(replace(seen, bound=bound), bound, limit, key, rule.confidence)


def _untestable(metric: Metric, key: CellKey, cell: Cell) -> str:
    if metric.kind is MetricKind.PROPORTION:
        return f"{key} cannot be tested: {cell.mean} of {cell.samples} is no number of successes."
    return (
        f"{key} cannot be tested: it takes {means.SMALLEST_SAMPLE} samples and a stderr "
        f"to bound a mean, and there are {cell.samples}."
    )


def _bound(metric: Metric, cell: Cell, limit: _Limit, confidence: float) -> float | None:
    """Return the one-sided bound on the side of the limit; None where none can be had."""
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
    seen: Finding, bound: float, limit: _Limit, key: CellKey, confidence: float
) -> Finding:
    lower = limit.demand == "at_least"
    passed = bound >= limit.value if lower else bound <= limit.value
    side = "at least" if lower else "at most"
    shown = f"At {100 * confidence:.10g} % confidence {key} is {side} {bound:.4g}"
    if passed:
        message = f"{shown}; {limit.value:g} was demanded."
        return replace(seen, outcome=Outcome.PASSED, message=message)
    message = (
        f"{shown} ({seen.observed:.4g} over {seen.samples} samples), and {limit.value:g} was "
        "demanded; a better version or more samples would show it."
    )
    return replace(seen, outcome=Outcome.FAILED, message=message)


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
    # Aggregates cannot be paired; their limits count, and here the runs with samples speak.
    measured = [each for each in measured if key in each.scores] or measured
    judged = [compare(margin, key, blank, each, reference) for each in measured]
    return _worst_or_qualified(key, blank, measured, judged, disqualify)


def _worst_or_qualified(
    key: CellKey,
    blank: Finding,
    measured: Sequence[Evaluation],
    judged: Sequence[Finding],
    disqualify: Disqualify,
) -> Finding:
    """Return the first failure, else what a qualified evaluation found; there must be one."""
    if not measured:
        return replace(blank, message=f"No complete evaluation measured {key}; record one.")
    for finding in judged:
        if finding.outcome is Outcome.FAILED:
            return finding
    reasons = [disqualify(evaluation) for evaluation in measured]
    if None in reasons:
        return judged[reasons.index(None)]
    message = f"{key} was measured, but the evaluation {reasons[-1]}; record another."
    return replace(judged[-1], outcome=Outcome.FAILED, message=message)
