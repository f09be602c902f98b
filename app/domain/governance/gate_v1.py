"""Rules as the gate's verifier version 1 judged them, so that its decisions can be replayed."""

from collections.abc import Iterable
from datetime import datetime

from app.domain.evidence.evaluation import Evaluation
from app.domain.governance.candidates import Candidate, Incumbent
from app.domain.governance.cells_v1 import Disqualify, References, rule_findings
from app.domain.governance.comparison_v1 import Reference
from app.domain.governance.findings import Finding
from app.domain.governance.policies import Policy, Rule
from app.domain.naming import rfc3339


def rule_findings_v1(
    policy: Policy, candidate: Candidate, incumbent: Incumbent | None, now: datetime
) -> Iterable[Finding]:
    """Yield the findings of every rule on a candidate."""
    references = _references(candidate, incumbent)
    for rule in policy.rules:
        yield from rule_findings(
            rule,
            [each for each in candidate.evaluations if each.suite.name == rule.suite_name],
            version=candidate.ref.number,
            references=references,
            disqualify=_disqualifier(policy, rule, candidate, now),
        )


def _references(candidate: Candidate, incumbent: Incumbent | None) -> References:
    base = Reference("base", f"base model {candidate.base_model}", candidate.control_runs)
    if incumbent is None or incumbent.ref == candidate.ref:
        return References(None, base)
    name = f"version {incumbent.ref.number}"
    return References(Reference("incumbent", name, incumbent.evaluations), base)


def _disqualifier(policy: Policy, rule: Rule, candidate: Candidate, now: datetime) -> Disqualify:
    return lambda evaluation: _disqualification(policy, rule, candidate, evaluation, now)


def _disqualification(
    policy: Policy, rule: Rule, candidate: Candidate, evaluation: Evaluation, now: datetime
) -> str | None:
    """Return why the evaluation does not qualify as evidence; its failures still count."""
    demand = policy.evidence
    if rule.suite_version not in (None, evaluation.suite.version):
        return f"is by {evaluation.suite}, and the rule demands version {rule.suite_version}"
    if demand.samples == "required" and evaluation.kind != "samples":
        return "has aggregates only, and the policy demands samples"
    if demand.max_age is not None and now - evaluation.finished_at > demand.max_age:
        earliest = rfc3339(now - demand.max_age)
        return f"finished before {earliest}, the earliest that the policy admits"
    if candidate.is_contributor(evaluation.evaluator_id, demand.exclude_evaluators):
        return "was recorded by a contributor that the policy excludes"
    return None
