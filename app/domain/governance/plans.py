"""Sample plans: how many samples a policy's cells need if the system is as good as assumed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from app.domain.evidence.suites import Metric, MetricKind
from app.domain.governance.policies import (
    Margins,
    Rule,
    fewest_samples,
    first_look_confidence,
)
from app.domain.statistics.levels import Demand
from app.domain.statistics.planning import (
    samples_for_bounded_mean,
    samples_for_pairs,
    samples_for_proportion,
)

POWERS: Final = (0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Assumptions about the true performance of the system.

    Attributes:
        better_by: How far it is on the right side of each limit, in the metric's own unit.
        discordance: The share of samples on which the system and its reference differ.
        standard_deviation: That of one sample's score, or of a difference of two, if known.
    """

    better_by: float
    discordance: float
    standard_deviation: float | None = None


@dataclass(frozen=True, slots=True)
class RequiredSamples:
    """With `samples` in a cell, the system passes that cell with probability `power`."""

    power: float
    samples: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The samples that one demand of a rule needs in each of its `cells`.

    `fewest` is the number with which perfect evidence passes. If `needed` is empty, `message` says
    why there is no plan.
    """

    rule: str
    demand: Demand | str
    limit: float
    cells: int
    fewest: int
    needed: tuple[RequiredSamples, ...]
    message: str


def rule_plans(rule: Rule, metric: Metric, assumed: Assumptions) -> Iterator[Plan]:
    """Yield a plan for every demand of a completed rule."""
    limits: list[tuple[Demand, float | None]] = [
        ("at_least", rule.at_least),
        ("at_most", rule.at_most),
    ]
    for demand, limit in limits:
        if limit is not None:
            yield _limit_plan(rule, metric, demand, limit, assumed)
    margins = rule.no_worse_than or Margins()
    for name, margin in (("incumbent", margins.incumbent), ("base", margins.base)):
        if margin is not None:
            yield _margin_plan(rule, metric, name, margin, assumed)


def _limit_plan(
    rule: Rule, metric: Metric, demand: Demand, limit: float, assumed: Assumptions
) -> Plan:
    better_by, cells = assumed.better_by, len(rule.personas) * len(rule.locales)
    truth = limit + better_by if demand == "at_least" else limit - better_by

    confidence = first_look_confidence(rule.confidence)

    def samples(power: float) -> int:
        if metric.kind is MetricKind.PROPORTION:
            return samples_for_proportion(limit, truth, confidence, power, demand)
        low, high = metric.range
        return samples_for_bounded_mean(
            limit, truth, _deviation(assumed), confidence, power, low=low, high=high, demand=demand
        )

    fewest = max(fewest_samples(rule, metric), rule.min_samples or 1)
    blank = Plan(rule.metric, demand, limit, cells, fewest, (), "")
    return _filled(blank, samples, f"If the truth is {truth:g}")


def _margin_plan(
    rule: Rule, metric: Metric, name: str, margin: float, assumed: Assumptions
) -> Plan:
    cells = len(rule.personas) * len(rule.locales)
    proportion = metric.kind is MetricKind.PROPORTION
    confidence = first_look_confidence(rule.confidence)

    def samples(power: float) -> int:
        if proportion:
            return samples_for_pairs(margin, assumed.discordance, confidence, power)
        low, high = metric.range
        return samples_for_bounded_mean(
            -margin,
            0,
            _deviation(assumed),
            confidence,
            power,
            low=low - high,
            high=high - low,
            demand="at_least",
        )

    blank = Plan(rule.metric, name, margin, cells, rule.min_samples or 1, (), "")
    differing = f" and {100 * assumed.discordance:g} % of the samples differ" if proportion else ""
    return _filled(blank, samples, f"If it is as good as its {name}{differing}")


def _deviation(assumed: Assumptions) -> float:
    if assumed.standard_deviation is None:
        raise ValueError("A plan for a mean needs the standard deviation of one sample; state it.")
    return assumed.standard_deviation


def _filled(blank: Plan, samples: Callable[[float], int], assumption: str) -> Plan:
    """Return the plan with the samples for each power, or with the reason why there are none."""
    try:
        needed = tuple(
            RequiredSamples(power, max(samples(power), blank.fewest)) for power in POWERS
        )
    except ValueError as error:
        return replace(blank, message=str(error))
    shown = " and ".join(f"{100 * each.power:g} % with {each.samples}" for each in needed)
    message = f"{assumption}, a cell passes with probability {shown} samples."
    return replace(blank, needed=needed, message=message)
