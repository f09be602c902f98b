"""A policy in words: what a reviewer would say that it demands."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.domain.governance.policies import Approvals, Policy, Rule
from app.pages.presentation.formatting import count, exact_span, listed, percent


@dataclass(frozen=True, slots=True)
class Sentence:
    about: str
    text: str


def sentences(policy: Policy) -> list[Sentence]:
    """Return everything that the policy demands, rules first."""
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
        text = f"Up to {share} of the traffic, {count(needed, 'approval')} is enough."
        found.append(Sentence("Canary", text))
    return found


def _rule(rule: Rule) -> str:
    cells = f"{listed(list(rule.personas))}, in {listed(list(rule.locales))}"
    level = f"at {100 * rule.confidence:.10g} % confidence"
    parts = []
    if rule.at_least is not None:
        parts.append(f"is at least {rule.at_least:g}")
    if rule.at_most is not None:
        parts.append(f"is at most {rule.at_most:g}")
    margins = rule.no_worse_than
    if margins is not None and margins.incumbent is not None:
        parts.append(f"is no worse than what is live by more than {margins.incumbent:g}")
    if margins is not None and margins.base is not None:
        parts.append(f"is no worse than the bare base model by more than {margins.base:g}")
    samples = count(rule.min_samples or 1, "sample")
    return f"For each of {cells}: shown {level} that it {listed(parts)}, on {samples} or more."


def _evidence(policy: Policy) -> Iterable[str]:
    demand = policy.evidence
    if demand.max_age is not None:
        yield f"No older than {exact_span(demand.max_age)}."
    if demand.samples == "required":
        yield "With one row for each sample; aggregates alone do not count."
    if demand.exclude_evaluators:
        excluded = listed([role.value for role in demand.exclude_evaluators], "or")
        yield f"Not recorded by the {excluded}."


def _card(policy: Policy) -> Iterable[str]:
    if policy.card.required:
        yield f"States {listed(list(policy.card.required))}."
    if policy.card.forbid_uses:
        yield f"Does not declare the use {listed(list(policy.card.forbid_uses), 'or')}."


def _artifact(policy: Policy) -> Iterable[str]:
    demand = policy.artifact
    yield f"Of type {listed(list(demand.types), 'or')}."
    if demand.max_virtual_tokens is not None:
        yield f"At most {count(demand.max_virtual_tokens, 'virtual token')}."
    if demand.max_parameter_fraction is not None:
        yield f"At most {demand.max_parameter_fraction:.4g} of the base model's parameters."


def _approvals(approvals: Approvals) -> Iterable[str]:
    if not approvals.required:
        yield "None needed: the gate alone decides."
        return
    kind = "human" if approvals.human else "principal"
    stands = exact_span(approvals.valid_for)
    yield f"By {count(approvals.required, kind)}, each standing for {stands}."
    if approvals.exclude:
        yield f"Not by the {listed([role.value for role in approvals.exclude], 'or')}."
    if approvals.wait:
        yield f"Not before {exact_span(approvals.wait)} have passed since the request."
