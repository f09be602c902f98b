"""The comparison of a candidate with a reference, sample by sample, within a margin."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from app.domain.evidence.evaluation import CellKey, Evaluation, Scores, exact_mean
from app.domain.evidence.suites import Metric, MetricKind
from app.domain.governance.findings import Finding, Outcome
from app.domain.statistics import means, paired

# The share of the larger set of samples that must pair; with fewer pairs, an evaluator could
# decide the outcome by leaving samples out.
PAIR_COVERAGE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Reference:
    """The incumbent or base model of a comparison: its name and its evaluations."""

    demand: Literal["incumbent", "base"]
    name: str
    evaluations: Sequence[Evaluation]


@dataclass(frozen=True, slots=True)
class Margin:
    """The largest deficit that is admitted, with the confidence and the pairs to show it."""

    value: float
    confidence: float
    least_pairs: int


def compare(
    margin: Margin, key: CellKey, blank: Finding, candidate: Evaluation, reference: Reference
) -> Finding:
    """Return a finding on whether one evaluation shows the candidate within the margin.

    It is compared with every evaluation of the reference, paired on equal samples with equal
    prompts of the same suite version. Proportions use the exact paired bound, means the paired t
    bound (docs/concepts/statistics.md).
    """
    blank = replace(blank, demand=reference.demand, margin=margin.value, evaluation=candidate.id)
    failed = replace(blank, outcome=Outcome.FAILED)
    ours = candidate.scores.get(key)
    if ours is None:
        message = f"{key} was recorded without samples, which a comparison needs; record them."
        return replace(failed, message=message)
    others = _comparable(reference.evaluations, candidate, key)
    if not others:
        message = (
            f"{reference.name} has no complete evaluation of {key} with samples by "
            f"{candidate.suite}; evaluate it first."
        )
        return replace(failed, message=message)
    findings = [_compared(margin, key, blank, candidate, each, reference) for each in others]
    blocking = (finding for finding in findings if finding.blocks)
    return next(blocking, findings[-1])


def _comparable(
    evaluations: Sequence[Evaluation], candidate: Evaluation, key: CellKey
) -> list[Evaluation]:
    """Return the reference's complete evaluations of the cell by the same suite version.

    All of them, not only the latest: otherwise a bad run of the reference would lower the bar.
    """
    same = [
        each
        for each in evaluations
        if not each.partial and each.suite == candidate.suite and key in each.scores
    ]
    return sorted(same, key=lambda each: (each.finished_at, each.id))


def _compared(
    margin: Margin,
    key: CellKey,
    blank: Finding,
    candidate: Evaluation,
    other: Evaluation,
    reference: Reference,
) -> Finding:
    ours, theirs = candidate.scores[key], other.scores[key]
    pairs = _pairs(ours, theirs)
    larger = max(len(ours.keys), len(theirs.keys))
    needed = max(margin.least_pairs, math.ceil(PAIR_COVERAGE * larger))
    if len(pairs) < needed:
        message = (
            f"{len(pairs)} samples of {key} pair with those of {reference.name} by id and prompt; "
            f"{needed} are needed, the candidate has {len(ours.keys)} and the reference "
            f"{len(theirs.keys)}."
        )
        return replace(blank, outcome=Outcome.FAILED, samples=len(pairs), message=message)
    metric = candidate.suite.metric(key.metric)
    if metric is None:
        message = f"{candidate.suite} has no metric {key.metric}."
        return replace(blank, outcome=Outcome.FAILED, message=message)
    return _verdict(margin, metric, key, replace(blank, samples=len(pairs)), pairs, reference)


def _pairs(ours: Scores, theirs: Scores) -> list[tuple[float, float]]:
    if ours.keys == theirs.keys:  # the usual case: the same samples in the same order
        return list(zip(ours.values, theirs.values, strict=True))
    by_key = dict(zip(theirs.keys, theirs.values, strict=True))
    return [
        (value, by_key[key])
        for key, value in zip(ours.keys, ours.values, strict=True)
        if key in by_key
    ]


def _verdict(
    margin: Margin,
    metric: Metric,
    key: CellKey,
    blank: Finding,
    pairs: list[tuple[float, float]],
    reference: Reference,
) -> Finding:
    higher = metric.higher_is_better
    demanded = 0.0 - margin.value if higher else margin.value
    compared = replace(blank, demanded=demanded)
    differences = [ours - theirs for ours, theirs in pairs]
    if not all(map(math.isfinite, differences)):
        message = f"{key} cannot be compared: a score is not a finite number; void the evaluation."
        return replace(compared, outcome=Outcome.FAILED, message=message)
    difference = exact_mean(differences)
    bound = _bound(metric, pairs, difference, margin.confidence, lower=higher)
    compared = replace(compared, observed=difference)
    if bound is None:
        message = f"{key} cannot be compared: its {len(pairs)} differences have no bound."
        return replace(compared, outcome=Outcome.FAILED, message=message)
    passed = bound >= demanded if higher else bound <= demanded
    side = "at least" if higher else "at most"
    message = (
        f"At {100 * margin.confidence:.10g} % confidence {key} differs from {reference.name} by "
        f"{side} {bound:+.4g} ({difference:+.4g} over {len(pairs)} pairs); {demanded:+g} was "
        f"demanded{'.' if passed else '; a better version or more samples would show it.'}"
    )
    outcome = Outcome.PASSED if passed else Outcome.FAILED
    return replace(compared, bound=bound, outcome=outcome, message=message)


def _bound(
    metric: Metric,
    pairs: list[tuple[float, float]],
    difference: float,
    confidence: float,
    *,
    lower: bool,
) -> float | None:
    n = len(pairs)
    if metric.kind is MetricKind.PROPORTION:
        both = sum(1 for ours, theirs in pairs if ours and theirs)
        wins = sum(1 for ours, theirs in pairs if ours and not theirs)
        losses = sum(1 for ours, theirs in pairs if theirs and not ours)
        counts = paired.PairedCounts(both, wins, losses, n - both - wins - losses)
        return (paired.lower_bound if lower else paired.upper_bound)(counts, confidence)
    if n < means.SMALLEST_SAMPLE:
        return None
    squares = math.fsum((ours - theirs - difference) ** 2 for ours, theirs in pairs)
    low, high = metric.range
    worst = low - high if lower else high - low
    bound_of = paired.mean_lower_bound if lower else paired.mean_upper_bound
    bound = bound_of(
        n,
        difference,
        squares / (n - 1),
        confidence,
        worst=worst if math.isfinite(worst) else None,
    )
    return bound if bound is not None and math.isfinite(bound) else None
