"""A candidate against a reference, sample by sample: is it worse by no more than a margin?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from app.domain.evidence.evaluation import CellKey, Evaluation, Scores, exact_mean
from app.domain.evidence.suites import Metric, MetricKind
from app.domain.governance.findings import Finding, Outcome
from app.domain.statistics import means, paired

# So many samples of both must pair: who chose the samples that do not could choose the outcome.
PAIR_COVERAGE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Reference:
    """What the candidate is compared with, by name, and what was measured of it."""

    demand: Literal["incumbent", "base"]
    name: str
    evaluations: Sequence[Evaluation]


@dataclass(frozen=True, slots=True)
class Margin:
    """By how much the candidate may be worse, shown at which confidence, on how many pairs."""

    value: float
    confidence: float
    least_pairs: int


def compare(
    margin: Margin, key: CellKey, blank: Finding, candidate: Evaluation, reference: Reference
) -> Finding:
    """Return whether one evaluation of the candidate shows it within the margin.

    It is held against every evaluation of the reference, paired on equal samples with equal
    prompts of the same suite version. Proportions are held to the exact paired bound, means to
    the paired t bound (docs/concepts/statistics.md).
    """
    blank = replace(blank, demand=reference.demand, margin=margin.value, evaluation=candidate.id)
    failed = replace(blank, outcome=Outcome.FAILED)
    ours = candidate.scores.get(key)
    if ours is None:
        message = f"{key} was recorded without samples, which a comparison takes; record them."
        return replace(failed, message=message)
    others = _comparable(reference.evaluations, candidate, key)
    if not others:
        message = (
            f"{reference.name} has no complete evaluation of {key} with samples by "
            f"{candidate.suite}; evaluate it first."
        )
        return replace(failed, message=message)
    findings = [_compared(margin, key, blank, candidate, each, reference) for each in others]
    closing = (finding for finding in findings if finding.blocks)
    return next(closing, findings[-1])


def _comparable(
    evaluations: Sequence[Evaluation], candidate: Evaluation, key: CellKey
) -> list[Evaluation]:
    """Return the reference's complete evaluations of the cell by the same suite version.

    All of them, not the latest: one bad run of the reference would else lower the bar.
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
    wanted = max(margin.least_pairs, math.ceil(PAIR_COVERAGE * larger))
    if len(pairs) < wanted:
        message = (
            f"{len(pairs)} samples of {key} pair with those of {reference.name} by id and prompt; "
            f"it takes {wanted}, the candidate has {len(ours.keys)} and the reference "
            f"{len(theirs.keys)}."
        )
        return replace(blank, outcome=Outcome.FAILED, samples=len(pairs), message=message)
    metric = candidate.suite.metric(key.metric)
    if metric is None:
        message = f"{candidate.suite} has no metric {key.metric}."
        return replace(blank, outcome=Outcome.FAILED, message=message)
    return _verdict(margin, metric, key, replace(blank, samples=len(pairs)), pairs, reference)


def _pairs(ours: Scores, theirs: Scores) -> list[tuple[float, float]]:
    if ours.keys == theirs.keys:  # as a rule: the same samples in the same order
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
    seen = replace(blank, demanded=demanded)
    differences = [ours - theirs for ours, theirs in pairs]
    if not all(map(math.isfinite, differences)):
        message = f"{key} cannot be compared: a score is no finite number; void the evaluation."
        return replace(seen, outcome=Outcome.FAILED, message=message)
    difference = exact_mean(differences)
    bound = _bound(metric, pairs, difference, margin.confidence, lower=higher)
    seen = replace(seen, observed=difference)
    if bound is None:
        message = f"{key} cannot be compared: its {len(pairs)} differences have no bound."
        return replace(seen, outcome=Outcome.FAILED, message=message)
    passed = bound >= demanded if higher else bound <= demanded
    side = "at least" if higher else "at most"
    message = (
        f"At {100 * margin.confidence:.10g} % confidence {key} differs from {reference.name} by "
        f"{side} {bound:+.4g} ({difference:+.4g} over {len(pairs)} pairs); {demanded:+g} was "
        f"demanded{'.' if passed else '; a better version or more samples would show it.'}"
    )
    outcome = Outcome.PASSED if passed else Outcome.FAILED
    return replace(seen, bound=bound, outcome=outcome, message=message)


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
