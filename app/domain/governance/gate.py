"""The gate: a pure function from a policy and evidence to a decision that explains itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from app.domain.evidence.evaluation import Evaluation
from app.domain.governance.cells import Disqualify, References, rule_findings
from app.domain.governance.comparison import Reference
from app.domain.governance.findings import Finding, Outcome
from app.domain.governance.policies import Contributor, Policy, Rule
from app.domain.identity.access import EVERYWHERE
from app.domain.naming import Json, canonical_digest, rfc3339


class GateResult(StrEnum):
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class VersionRef:
    number: int
    digest: str


class EvidenceRole(StrEnum):
    """The role of the evaluated version or base model in a decision."""

    CANDIDATE = "candidate"
    INCUMBENT = "incumbent"
    BASE = "base"


@dataclass(frozen=True, slots=True)
class EvaluationRef:
    id: UUID
    digest: str
    of: EvidenceRole


@dataclass(frozen=True, slots=True)
class Verifier:
    """The program that decided; `version` changes if equal input could give another decision."""

    id: str
    version: str


GATE: Final = Verifier("urn:prefix-registry:gate", "1")

_QUOTED: Final = 5
_QUOTED_CHARACTERS: Final = 400


@dataclass(frozen=True, slots=True)
class PolicyRef:
    name: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version whose share would grow, with the gate's input about it.

    `authors` are the principals that pushed its content, to any prefix.
    """

    ref: VersionRef
    peft_type: str
    virtual_tokens: int
    parameter_fraction: float
    card: Mapping[str, Json]
    namespace: str
    authors: frozenset[UUID]
    owner_id: UUID
    evaluations: tuple[Evaluation, ...]
    base_model: str
    control_runs: tuple[Evaluation, ...] = ()

    def is_contributor(self, principal_id: UUID, roles: Iterable[Contributor]) -> bool:
        """Return whether the principal is an author or the owner and `roles` names that role."""
        ids = {Contributor.AUTHOR: self.authors, Contributor.OWNER: {self.owner_id}}
        return any(principal_id in ids.get(role, ()) for role in roles)


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The version that serves most of the channel's traffic now, and its evaluations."""

    ref: VersionRef
    evaluations: tuple[Evaluation, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's complete decision; equal input always gives an equal decision."""

    result: GateResult
    evaluated_at: datetime
    policy: PolicyRef
    candidates: tuple[VersionRef, ...]
    incumbent: VersionRef | None
    evaluations: tuple[EvaluationRef, ...]
    findings: tuple[Finding, ...]
    verifier: Verifier = GATE

    @property
    def unmet(self) -> tuple[Finding, ...]:
        """The findings that keep the gate closed."""
        return tuple(finding for finding in self.findings if finding.blocks)

    @property
    def shortfalls(self) -> dict[str, Json]:
        """The findings that keep the gate closed, as facts of an audit entry.

        An entry stays for as long as the log, so it holds the first messages, and the number and
        the digest of all of them. The findings themselves are in the response.
        """
        messages: list[Json] = [f"{finding.rule}: {finding.message}" for finding in self.unmet]
        first: list[Json] = [str(each)[:_QUOTED_CHARACTERS] for each in messages[:_QUOTED]]
        return {
            "unmet": first,
            "unmet_count": len(messages),
            "unmet_digest": canonical_digest(messages),
        }

    @property
    def evidence_digest(self) -> str:
        """The digest of the evidence that a review covers."""
        incumbent = None if self.incumbent is None else self.incumbent.digest
        return canonical_digest(
            {
                "candidates": sorted(candidate.digest for candidate in self.candidates),
                "incumbent": incumbent,
                "evaluations": sorted([each.of.value, each.digest] for each in self.evaluations),
            }
        )


def decide(
    policy: Policy,
    policy_ref: PolicyRef,
    candidates: Sequence[Candidate],
    incumbent: Incumbent | None,
    now: datetime,
) -> Decision:
    """Evaluate every rule for every candidate, without stopping at the first failure.

    The cells form an intersection-union test (Berger 1982): each is tested at the rule's own
    level, and demanding all of them keeps that level without a correction for their number.
    """
    findings = tuple(
        finding
        for candidate in candidates
        for finding in _candidate_findings(policy, candidate, incumbent, now)
    )
    closed = not findings or any(finding.blocks for finding in findings)
    return Decision(
        result=GateResult.FAILED if closed else GateResult.PASSED,
        evaluated_at=now,
        policy=policy_ref,
        candidates=tuple(candidate.ref for candidate in candidates),
        incumbent=None if incumbent is None else incumbent.ref,
        evaluations=tuple(_inputs(candidates, incumbent)),
        findings=findings,
    )


def _inputs(
    candidates: Sequence[Candidate], incumbent: Incumbent | None
) -> Iterable[EvaluationRef]:
    """Yield every evaluation on which the decision is based, each once."""
    read = [
        *((EvidenceRole.CANDIDATE, each) for one in candidates for each in one.evaluations),
        *((EvidenceRole.INCUMBENT, each) for each in (incumbent.evaluations if incumbent else ())),
        *((EvidenceRole.BASE, each) for one in candidates for each in one.control_runs),
    ]
    seen: set[UUID] = set()
    for of, evaluation in read:
        if evaluation.id not in seen:
            seen.add(evaluation.id)
            yield EvaluationRef(evaluation.id, evaluation.digest, of)


def _candidate_findings(
    policy: Policy, candidate: Candidate, incumbent: Incumbent | None, now: datetime
) -> Iterable[Finding]:
    yield from _artifact_findings(policy, candidate)
    yield from _card_findings(policy, candidate)
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
    if evaluation.scope not in (EVERYWHERE, candidate.namespace):
        return "was recorded by an evaluator of another namespace"
    if candidate.is_contributor(evaluation.evaluator_id, demand.exclude_evaluators):
        return "was recorded by a contributor that the policy excludes"
    return None


def _artifact_findings(policy: Policy, candidate: Candidate) -> Iterable[Finding]:
    demand, number = policy.artifact, candidate.ref.number
    allowed = candidate.peft_type in demand.types
    yield _fact(
        "artifact/types",
        number,
        passed=allowed,
        message=f"The type is {candidate.peft_type}; the policy admits {', '.join(demand.types)}.",
    )
    limits: list[tuple[str, float, float]] = []
    if demand.max_virtual_tokens is not None:
        tokens = candidate.virtual_tokens
        limits.append(("max_virtual_tokens", tokens, demand.max_virtual_tokens))
    if demand.max_parameter_fraction is not None:
        fraction = candidate.parameter_fraction
        limits.append(("max_parameter_fraction", fraction, demand.max_parameter_fraction))
    for name, observed, demanded in limits:
        yield _fact(
            f"artifact/{name}",
            number,
            passed=observed <= demanded,
            observed=observed,
            demanded=demanded,
            message=f"{name} is {observed:g}; the policy admits {demanded:g}.",
        )


def _card_findings(policy: Policy, candidate: Candidate) -> Iterable[Finding]:
    number = candidate.ref.number
    for name in policy.card.required:
        value = candidate.card.get(name)
        given = bool(value.strip() if isinstance(value, str) else value)
        word = "states" if given else "does not state"
        message = f"The card {word} {name}."
        yield _fact(f"card/{name}", number, passed=given, message=message)
    uses = candidate.card.get("uses")
    declared = uses if isinstance(uses, Sequence) else ()
    for use in policy.card.forbid_uses:
        passed = use not in declared
        word = "does not declare" if passed else "declares"
        message = f"The card {word} the use {use}, which the policy forbids."
        yield _fact(f"card/forbid_uses/{use}", number, passed=passed, message=message)


def _fact(
    rule: str,
    version: int,
    *,
    passed: bool,
    message: str,
    observed: float | None = None,
    demanded: float | None = None,
) -> Finding:
    outcome = Outcome.PASSED if passed else Outcome.FAILED
    return Finding(
        rule, version, outcome, message, observed=observed, demanded=demanded, demand="fact"
    )
