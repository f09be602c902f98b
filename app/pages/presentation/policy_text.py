"""A policy's requirements as sentences for reviewers."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.domain.governance.policies import Approvals, Policy, Rule
from app.pages.presentation.formatting import count, exact_span, listed, percent

_LEVELS = {
    0: "reported numbers suffice",
    1: "one row per sample, from which the registry recomputes every number",
    2: "the samples were fixed in a sealed suite",
    3: "the run was opened before it began",
}


@dataclass(frozen=True, slots=True)
class Sentence:
    about: str
    text: str


def sentences(policy: Policy) -> list[Sentence]:
    """Return all requirements of the policy, rules first."""
    found = [Sentence(rule.metric, _rule(rule)) for rule in policy.rules]
    parts = (
        ("Evidence", _evidence(policy)),
        ("Card", _card(policy)),
        ("Artifact", _artifact(policy)),
        ("Approvals", _approvals(policy.approvals)),
    )
    found += [Sentence(about, text) for about, texts in parts if (text := " ".join(texts))]
    if policy.canary is not None:
        share, needed = percent(policy.canary.max_weight), policy.canary.approvals.required
        text = f"Up to {share} of the traffic: {count(needed, 'approval')} required."
        found.append(Sentence("Canary", text))
    return found


def _rule(rule: Rule) -> str:
    cells = f"{listed(list(rule.personas))}, in {listed(list(rule.locales))}"
    level = f"shown at {100 * rule.confidence:.10g} % confidence"
    parts = []
    if rule.at_least is not None:
        parts.append(f"at least {rule.at_least:g}")
    if rule.at_most is not None:
        parts.append(f"at most {rule.at_most:g}")
    margins = rule.no_worse_than
    if margins is not None and margins.incumbent is not None:
        parts.append(f"no worse than each incumbent by more than {margins.incumbent:g}")
    if margins is not None and margins.base is not None:
        parts.append(f"no worse than the bare base model by more than {margins.base:g}")
    samples = count(rule.min_samples or 1, "independent sample")
    suite = "" if rule.suite_version is None else f" of suite version {rule.suite_version}"
    return f"For each of {cells}: {listed(parts)}, {level} on {samples} or more{suite}."


def _evidence(policy: Policy) -> Iterable[str]:
    demand = policy.evidence
    if demand.max_age is not None:
        yield f"No older than {exact_span(demand.max_age)}."
    yield f"Evidence level {demand.level} or more: {_LEVELS[demand.level]}."
    if policy.attempts.correct:
        yield "Each further content that a suite measures must show more."
    if any(rule.no_worse_than is not None for rule in policy.rules):
        served = count(policy.incumbents.generations, "promotion")
        anchor = policy.incumbents.anchor
        more = "" if anchor is None else f", and version {anchor}"
        yield f"Incumbents are what the channel fully served in its last {served}{more}."
    if demand.exclude_evaluators:
        excluded = listed([role.value for role in demand.exclude_evaluators], "or")
        yield f"Not recorded by the {excluded}."


def _card(policy: Policy) -> Iterable[str]:
    if policy.card.required:
        yield f"Must state {listed(list(policy.card.required))}."
    if policy.card.forbid_uses:
        yield f"Must not declare the use {listed(list(policy.card.forbid_uses), 'or')}."


def _artifact(policy: Policy) -> Iterable[str]:
    demand = policy.artifact
    yield f"Type {listed(list(demand.types), 'or')}."
    if demand.max_virtual_tokens is not None:
        yield f"At most {count(demand.max_virtual_tokens, 'virtual token')}."
    if demand.max_parameter_fraction is not None:
        yield f"At most {demand.max_parameter_fraction:.4g} of the base model's parameters."


def _approvals(approvals: Approvals) -> Iterable[str]:
    if not approvals.required:
        yield "None required: the gate alone decides."
        return
    kind = "human" if approvals.human else "principal"
    lifetime = exact_span(approvals.valid_for)
    yield f"By {count(approvals.required, kind)}; each approval is valid for {lifetime}."
    if approvals.exclude:
        yield f"Not by the {listed([role.value for role in approvals.exclude], 'or')}."
    if approvals.wait:
        yield f"No earlier than {exact_span(approvals.wait)} after the request."
