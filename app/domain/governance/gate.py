"""The gate: a pure function from a policy and evidence to a decision that explains itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from app.domain.evidence.evaluation import Evaluation
from app.domain.governance.candidates import Candidate, Incumbent, VersionRef
from app.domain.governance.cell_runs import Qualification
from app.domain.governance.cells import References, Subject, rule_findings
from app.domain.governance.comparison import Reference
from app.domain.governance.findings import Finding, Outcome
from app.domain.governance.gate_v1 import rule_findings_v1
from app.domain.governance.notices import NOT_APPROVED, notices
from app.domain.governance.policies import Policy
from app.domain.identity.access import EVERYWHERE
from app.domain.naming import Json, canonical_digest


class GateResult(StrEnum):
    PASSED = "passed"
    FAILED = "failed"


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


GATE: Final = Verifier("urn:prefix-registry:gate", "2")
GATE_V1: Final = Verifier("urn:prefix-registry:gate", "1")

_QUOTED: Final = 5
_QUOTED_CHARACTERS: Final = 400


@dataclass(frozen=True, slots=True)
class PolicyRef:
    name: str
    version: int
    digest: str


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
    verifier: Verifier
    incumbents: tuple[VersionRef, ...] = ()

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
        covered: dict[str, Json] = {
            "candidates": sorted(candidate.digest for candidate in self.candidates),
            "incumbent": incumbent,
            "evaluations": sorted([each.of.value, each.digest] for each in self.evaluations),
        }
        if self.verifier != GATE_V1:
            covered["incumbents"] = sorted(each.digest for each in self.incumbents)
            covered["notices"] = sorted(
                [finding.version, finding.rule, finding.message]
                for finding in self.findings
                if finding.outcome is Outcome.NOTICE and finding.rule not in NOT_APPROVED
            )
        return canonical_digest(covered)


@dataclass(frozen=True, slots=True)
class Context:
    """The state of the channel and of the registry in which candidates are judged.

    Attributes:
        incumbent: The version that serves most of the channel's traffic now.
        incumbents: One version of each content that the candidates are compared with.
        latest_suites: The latest version of each suite that the policy names, by name.
    """

    incumbent: Incumbent | None
    incumbents: Sequence[Incumbent] = ()
    latest_suites: Mapping[str, str] = field(default_factory=dict)


def decide(
    policy: Policy,
    policy_ref: PolicyRef,
    candidates: Sequence[Candidate],
    context: Context,
    now: datetime,
    verifier: Verifier = GATE,
) -> Decision:
    """Evaluate every rule for every candidate, without stopping at the first failure.

    Decisions of version 1 of the verifier are replayed by its own rules.

    The cells form an intersection-union test (Berger 1982): each is tested at the rule's own
    level, and demanding all of them keeps that level without a correction for their number.
    """
    findings = tuple(
        finding
        for candidate in candidates
        for finding in (
            _candidate_findings_v1(policy, candidate, context.incumbent, now)
            if verifier == GATE_V1
            else _candidate_findings(policy, candidate, context, now)
        )
    )
    compared = context.incumbents
    if verifier == GATE_V1:
        compared = [] if context.incumbent is None else [context.incumbent]
    closed = not findings or any(finding.blocks for finding in findings)
    return Decision(
        result=GateResult.FAILED if closed else GateResult.PASSED,
        evaluated_at=now,
        policy=policy_ref,
        candidates=tuple(candidate.ref for candidate in candidates),
        incumbent=None if context.incumbent is None else context.incumbent.ref,
        incumbents=tuple(each.ref for each in context.incumbents),
        evaluations=tuple(_inputs(candidates, compared)),
        findings=findings,
        verifier=verifier,
    )


def _inputs(
    candidates: Sequence[Candidate], incumbents: Sequence[Incumbent]
) -> Iterable[EvaluationRef]:
    """Yield every evaluation on which the decision is based, each once."""
    read = [
        *((EvidenceRole.CANDIDATE, each) for one in candidates for each in one.evaluations),
        *((EvidenceRole.INCUMBENT, each) for one in incumbents for each in one.evaluations),
        *((EvidenceRole.BASE, each) for one in candidates for each in one.control_runs),
    ]
    seen: set[UUID] = set()
    for of, evaluation in read:
        if evaluation.id not in seen:
            seen.add(evaluation.id)
            yield EvaluationRef(evaluation.id, evaluation.digest, of)


def _candidate_findings(
    policy: Policy, candidate: Candidate, context: Context, now: datetime
) -> Iterable[Finding]:
    yield from _artifact_findings(policy, candidate)
    yield from _card_findings(policy, candidate)
    references = _references(candidate, context.incumbents)
    qualification = _qualification(policy, candidate, now)
    for rule in policy.rules:
        attempt = candidate.attempts.get(rule.suite)
        counted = attempt.number if attempt is not None and policy.attempts.correct else None
        subject = Subject(candidate.ref.number, candidate.evaluations, counted)
        yield from rule_findings(rule, subject, references, qualification)
    yield from notices(policy, candidate, context.latest_suites)


def _candidate_findings_v1(
    policy: Policy, candidate: Candidate, incumbent: Incumbent | None, now: datetime
) -> Iterable[Finding]:
    yield from _artifact_findings(policy, candidate)
    yield from _card_findings(policy, candidate)
    yield from rule_findings_v1(policy, candidate, incumbent, now)


def _references(candidate: Candidate, incumbents: Sequence[Incumbent]) -> References:
    return References(
        [
            Reference(f"version {each.ref.number}", each.evaluations)
            for each in incumbents
            if each.content != candidate.content
        ],
        Reference(f"base model {candidate.base_model}", candidate.control_runs),
    )


def _qualification(policy: Policy, candidate: Candidate, now: datetime) -> Qualification:
    max_age = policy.evidence.max_age
    return Qualification(
        refusal=lambda evaluation: _refusal(policy, candidate, evaluation),
        is_stale=lambda each: max_age is not None and now - each.finished_at > max_age,
    )


def _refusal(policy: Policy, candidate: Candidate, evaluation: Evaluation) -> str | None:
    """Return why an evaluation cannot pass a cell of the policy; it still counts against it."""
    demand = policy.evidence
    if evaluation.level < demand.level:
        return f"is of level {evaluation.level}, and the policy demands level {demand.level}"
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
