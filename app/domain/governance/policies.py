"""Policies: the demands of a channel as one immutable document, and the faults of one."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final, Literal

from app.domain.errors import Fault
from app.domain.evidence.suites import Metric, MetricKind, Suite
from app.domain.statistics import betting, proportions
from app.domain.statistics.levels import Demand, level, rounded
from app.domain.statistics.spending import look_alpha


class Contributor(StrEnum):
    """A contribution to a promotion, for which a policy can exclude a principal as reviewer."""

    AUTHOR = "author"
    OWNER = "owner"
    REQUESTER = "requester"
    EVALUATOR = "evaluator"


EVERY_CONTRIBUTOR: Final = tuple(Contributor)

# How long a promotion may be pending before it expires.
REQUEST_LIFETIME: Final = timedelta(days=30)

# A gate evaluates every cell of every candidate while it holds the lock of the prefix.
MOST_CELLS: Final = 10_000

# The least distance of a proportion's limit from 0 and 1: showing one millionth takes three million
# samples without a miss, and showing much less takes more samples than can be recorded.
_FINEST_LIMIT: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Approvals:
    """The approvals that a promotion needs, and how long one is valid; the defaults are strict."""

    required: int = 1
    exclude: tuple[Contributor, ...] = EVERY_CONTRIBUTOR
    human: bool = True
    valid_for: timedelta = timedelta(days=7)
    wait: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class EvidenceDemand:
    """The demands on evaluations: `level` is the least evidence level that can pass a cell.

    `samples` is the demand of policies from before there were levels, which their replays need.
    """

    max_age: timedelta | None = None
    samples: Literal["required", "optional"] = "optional"
    exclude_evaluators: tuple[Contributor, ...] = ()
    level: int = 1


@dataclass(frozen=True, slots=True)
class CardDemand:
    required: tuple[str, ...] = ()
    forbid_uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ArtifactDemand:
    types: tuple[str, ...] = ("PREFIX_TUNING", "CARTRIDGE")
    max_parameter_fraction: float | None = None
    max_virtual_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class CanaryApprovals:
    required: int


@dataclass(frozen=True, slots=True)
class Canary:
    """Up to `max_weight` basis points need only these approvals; the gate stays the same."""

    max_weight: int
    approvals: CanaryApprovals


@dataclass(frozen=True, slots=True)
class Margins:
    """How much worse the candidate may be, in the metric's own direction and unit.

    The margin `incumbent` applies to each of the policy's incumbents.
    """

    incumbent: float | None = None
    base: float | None = None


@dataclass(frozen=True, slots=True)
class IncumbentDemand:
    """The contents that a candidate is compared with as incumbents.

    These are the contents that the channel fully served in its last `generations` promotions, and
    that of the version `anchor`: a bar that only followed the latest content would sink a little
    with every release.
    """

    generations: int = 3
    anchor: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """The demands on one metric; every persona x locale is a cell that must exist and pass.

    Only evaluations by `suite_version` count: another version of the suite may measure something
    else under the same name.
    """

    metric: str
    suite_version: str | None = None
    personas: tuple[str, ...] = ()
    locales: tuple[str, ...] = ()
    min_samples: int | None = None
    at_least: float | None = None
    at_most: float | None = None
    confidence: float = 0.95
    no_worse_than: Margins | None = None

    @property
    def suite_name(self) -> str:
        return self.metric.rpartition("/")[0]

    @property
    def suite(self) -> str:
        """The suite version of a completed rule, as `name@version`."""
        return f"{self.suite_name}@{self.suite_version}"

    @property
    def metric_name(self) -> str:
        return self.metric.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class AttemptDemand:
    """With `correct`, the k-th content that is measured on a suite version must show more.

    Its level is alpha / (k (k + 1)), so that pushing variants until one passes does not help.
    """

    correct: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """Demands that must all hold. A policy without rules would admit anything, so it is illegal."""

    name: str
    approvals: Approvals
    rules: tuple[Rule, ...]
    evidence: EvidenceDemand = field(default_factory=EvidenceDemand)
    card: CardDemand = field(default_factory=CardDemand)
    artifact: ArtifactDemand = field(default_factory=ArtifactDemand)
    canary: Canary | None = None
    attempts: AttemptDemand = field(default_factory=AttemptDemand)
    incumbents: IncumbentDemand = field(default_factory=IncumbentDemand)

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError("a policy needs at least one rule")


def fewest_samples(rule: Rule, metric: Metric) -> int:
    """Return the least n with which a perfect cell could pass the rule's limits at its first look.

    An `at_least` of 0.95 at 95 % confidence takes 63 samples: 62 of 62 prove too little.
    """
    confidence = first_look_confidence(rule.confidence)
    needed = [1]
    if rule.at_least is not None:
        needed.append(_fewest(metric, rule.at_least, confidence, "at_least"))
    if rule.at_most is not None:
        needed.append(_fewest(metric, rule.at_most, confidence, "at_most"))
    return max(needed)


def first_look_confidence(confidence: float) -> float:
    """Return the confidence at which a cell's first complete run is tested."""
    return rounded(1 - look_alpha(level(confidence), 1))


def _fewest(metric: Metric, limit: float, confidence: float, demand: Demand) -> int:
    if metric.kind is MetricKind.PROPORTION:
        return proportions.smallest_n_that_can_pass(limit, confidence, demand)
    return betting.smallest_n_that_can_pass(limit, *metric.range, confidence, demand)


def completed(rule: Rule, suite: Suite) -> Rule:
    """Return a faultless rule with the defaults: all personas, all locales, enough samples."""
    metric = suite.metric(rule.metric_name)
    if metric is None:
        raise ValueError(f"{suite} has no metric {rule.metric_name}")
    samples = rule.min_samples
    return replace(
        rule,
        suite_version=rule.suite_version or suite.version,
        personas=rule.personas or suite.personas,
        locales=rule.locales or suite.locales,
        min_samples=fewest_samples(rule, metric) if samples is None else samples,
    )


def policy_faults(policy: Policy) -> Iterable[Fault]:
    """Yield the faults of the policy as a whole, independent of its suites."""
    if policy.approvals.wait >= REQUEST_LIFETIME:
        days = REQUEST_LIFETIME.days
        message = f"approvals.wait must be less than {days} days, when a promotion expires."
        yield Fault("wait-too-long", message)
    if policy.evidence.level == 0 and policy.evidence.samples == "required":
        message = "evidence.level 0 admits aggregates, and evidence.samples requires samples."
        yield Fault("level-contradicts-samples", message)
    demands = [(rule.metric, rule.personas, rule.locales) for rule in policy.rules]
    for demand in sorted({each for each in demands if demands.count(each) > 1}):
        message = f"Two rules on {demand[0]} name the same cells; make them one."
        yield Fault("rule-repeated", message)


def level_faults(policy: Policy, rule: Rule, metric: Metric) -> Iterable[Fault]:
    """Yield a fault if reports without samples would be evidence of a mean."""
    if policy.evidence.level == 0 and metric.kind is MetricKind.MEAN:
        message = (
            f"{rule.metric} is a mean, which a report without samples cannot show; set "
            "evidence.level to 1 or more."
        )
        yield Fault("mean-without-samples", message)


def size_faults(rules: Sequence[Rule]) -> Iterable[Fault]:
    """Yield a fault if completed rules demand more cells than a gate can evaluate at once."""
    cells = sum(len(rule.personas) * len(rule.locales) for rule in rules)
    if cells > MOST_CELLS:
        message = (
            f"The rules demand {cells:,} cells; the limit is {MOST_CELLS:,}. Name fewer personas "
            "or locales in the rules, or divide the policy."
        )
        yield Fault("too-many-cells", message)


def compared_metrics(policy: Policy) -> frozenset[str]:
    """Return the metrics, without their suites, that some rule compares sample by sample."""
    return frozenset(rule.metric_name for rule in policy.rules if margins_of(rule))


def tested_metrics(policy: Policy) -> frozenset[str]:
    """Return the metrics, without their suites, of all rules."""
    return frozenset(rule.metric_name for rule in policy.rules)


def rule_faults(rule: Rule, suite: Suite) -> Iterable[Fault]:
    """Yield the reasons why the rule is impossible, meaningless or unreachable on `suite`."""
    metric = suite.metric(rule.metric_name)
    if metric is None:
        known = ", ".join(f"{suite.name}/{metric.name}" for metric in suite.metrics)
        message = f"{suite} has no metric {rule.metric_name}; it has {known}."
        yield Fault("unknown-metric", message)
        return
    for kind, names, known_names in (
        ("persona", rule.personas, suite.personas),
        ("locale", rule.locales, suite.locales),
    ):
        for name in sorted(set(names) - set(known_names)):
            known = ", ".join(known_names)
            yield Fault(f"unknown-{kind}", f"{suite} has no {kind} {name}; it has {known}.")
    limit_faults = list(_limit_faults(rule, metric))
    yield from limit_faults
    if not limit_faults:
        yield from _reachability_faults(rule, metric)


def _limit_faults(rule: Rule, metric: Metric) -> Iterable[Fault]:
    low, high = _limit_range(metric)
    if rule.at_least is None and rule.at_most is None and not margins_of(rule):
        message = f"The rule on {rule.metric} demands nothing; set at_least or at_most."
        yield Fault("rule-empty", message)
    if not (math.isfinite(low) and math.isfinite(high)):
        message = (
            f"{rule.metric} is a mean without a minimum and a maximum, so no number of samples "
            "bounds it; register a suite version that states both."
        )
        yield Fault("mean-without-range", message)
    if rule.at_least is not None and not (low < rule.at_least < high):
        message = f"at_least of {rule.metric} must lie between {low:g} and {high:g}."
        yield Fault("limit-out-of-range", message)
    if rule.at_most is not None and not (low < rule.at_most < high):
        message = f"at_most of {rule.metric} must lie between {low:g} and {high:g}."
        yield Fault("limit-out-of-range", message)
    wrong_way = rule.at_most if metric.higher_is_better else rule.at_least
    if wrong_way is not None:
        better, use = ("higher", "at_least") if metric.higher_is_better else ("lower", "at_most")
        message = f"On {rule.metric} {better} is better, so its limit is {use}."
        yield Fault("limit-against-direction", message)
    for margin in margins_of(rule):
        if not (math.isfinite(margin) and margin >= 0):
            message = f"The margins of {rule.metric} must be finite and at least 0."
            yield Fault("margin-out-of-range", message)


def _limit_range(metric: Metric) -> tuple[float, float]:
    if metric.kind is MetricKind.PROPORTION:
        return _FINEST_LIMIT, 1 - _FINEST_LIMIT
    return metric.range


def _reachability_faults(rule: Rule, metric: Metric) -> Iterable[Fault]:
    needed = fewest_samples(rule, metric)
    if rule.min_samples is not None and rule.min_samples < needed:
        message = (
            f"With {rule.min_samples} samples a cell of {rule.metric} could never pass at "
            f"confidence {rule.confidence:g}, however good it is; set min_samples to {needed} "
            "or more."
        )
        yield Fault("unreachable", message)


def margins_of(rule: Rule) -> list[float]:
    """Return the margins that the rule sets."""
    margins = rule.no_worse_than or Margins()
    return [margin for margin in (margins.incumbent, margins.base) if margin is not None]
