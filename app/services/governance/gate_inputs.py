"""Reading the gate's inputs: candidates with their evidence, and what they are compared with."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.channels import fully_served
from app.db.evaluations import (
    evidence_for,
    latest_suites,
    measured_contents,
    void_evaluations,
)
from app.db.models import Channel, EvaluationRow, PolicyRow, Version
from app.db.policies import policy_of, policy_ref
from app.db.promotions import rejections_of
from app.db.session import expect
from app.db.versions import authors_of, versions_numbered
from app.domain.evidence.evaluation import Cell, CellKey, Evaluation
from app.domain.governance.allocation import Allocation, heaviest
from app.domain.governance.candidates import Attempt, Candidate, Incumbent, Notice, VersionRef
from app.domain.governance.gate import GATE, Context, Decision, Verifier, decide
from app.domain.governance.notices import Rejection, Void, rejection_notice, void_notice
from app.domain.governance.policies import Policy, compared_metrics, tested_metrics


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evaluations of contents, and the control runs of base models by row id."""

    contents: Mapping[str, Sequence[Evaluation]]
    base_models: Mapping[UUID, Sequence[Evaluation]]


@dataclass(frozen=True, slots=True)
class Incumbents:
    """The versions to compare with, and which of them serves most of the traffic now."""

    heaviest: Version | None
    compared: Sequence[Version]


@dataclass(frozen=True, slots=True)
class GateInputs:
    """Everything that a decision is made of; equal inputs give an equal decision."""

    candidates: Sequence[Candidate]
    context: Context


def decide_on(
    policy: PolicyRow, inputs: GateInputs, now: datetime, verifier: Verifier = GATE
) -> Decision:
    """Apply the pure gate; used by evaluation and by replay."""
    ref = policy_ref(policy)
    return decide(policy_of(policy), ref, inputs.candidates, inputs.context, now, verifier)


def gate_inputs(
    session: Session,
    channel: Channel,
    candidates: Sequence[Version],
    *,
    current: Allocation,
    now: datetime,
) -> GateInputs:
    """Read the inputs of a decision, in a number of queries that does not depend on the history."""
    policy = policy_of(channel.policy)
    incumbents = _incumbents(session, channel, policy, current)
    evidence = _evidence(session, policy, [*candidates, *incumbents.compared])
    return inputs_of(session, channel, policy, candidates, incumbents, evidence, now)


def _incumbents(
    session: Session, channel: Channel, policy: Policy, current: Allocation
) -> Incumbents:
    most = heaviest(current)
    served: list[int] = [] if most is None else [most.version]
    compared: list[int] = []
    if any(rule.no_worse_than is not None for rule in policy.rules):
        demand, canary = policy.incumbents, policy.canary
        above = 0 if canary is None else canary.max_weight
        compared += served
        compared += fully_served(session, channel, generations=demand.generations, above=above)
        compared += [] if demand.anchor is None else [demand.anchor]
    found = versions_numbered(session, channel.prefix.full_name, {*served, *compared})
    by_content = {found[number].content: found[number] for number in compared if number in found}
    return Incumbents(found[served[0]] if served else None, list(by_content.values()))


def _evidence(session: Session, policy: Policy, versions: Sequence[Version]) -> Evidence:
    """Read the evaluations of versions, and the control runs if a rule compares with them."""
    contents = {version.content for version in versions}
    tested = tested_metrics(policy)
    of_contents = evidence_for(session, EvaluationRow.content, contents, tested)
    margins = [rule.no_worse_than for rule in policy.rules if rule.no_worse_than is not None]
    if all(margin.base is None for margin in margins):
        return Evidence(of_contents, {})
    bases = {version.base_model_id for version in versions}
    compared = compared_metrics(policy)
    of_bases = evidence_for(session, EvaluationRow.base_model_id, bases, compared)
    return Evidence(of_contents, of_bases)


def inputs_of(
    session: Session,
    channel: Channel,
    policy: Policy,
    candidates: Sequence[Version],
    incumbents: Incumbents,
    evidence: Evidence,
    now: datetime,
) -> GateInputs:
    """Return the inputs of a decision at a moment, from evidence that has been read."""
    contents = [version.content for version in candidates]
    authors = authors_of(session, contents, until=now)
    attempts = _attempts(session, channel, policy, now)
    notices = _notices(session, channel, contents, now)
    most = incumbents.heaviest
    return GateInputs(
        [
            Candidate(
                ref=_ref(version),
                content=version.content,
                peft_type=version.peft_type,
                virtual_tokens=version.virtual_tokens,
                parameter_fraction=version.parameter_fraction,
                card=version.card,
                namespace=version.prefix.namespace,
                authors=authors[version.content],
                owner_id=version.prefix.owner_id,
                evaluations=tuple(evidence.contents.get(version.content, ())),
                base_model=version.base_model.name,
                control_runs=tuple(evidence.base_models.get(version.base_model_id, ())),
                attempts=attempts.get(version.content, {}),
                notices=tuple(notices.get(version.content, ())),
            )
            for version in candidates
        ],
        Context(
            incumbent=None if most is None else _incumbent(most, evidence),
            incumbents=[_incumbent(each, evidence) for each in incumbents.compared],
            latest_suites=latest_suites(
                session, {rule.suite_name for rule in policy.rules}, until=now
            ),
        ),
    )


def _incumbent(version: Version, evidence: Evidence) -> Incumbent:
    evaluations = tuple(evidence.contents.get(version.content, ()))
    return Incumbent(_ref(version), version.content, evaluations)


def _ref(version: Version) -> VersionRef:
    return VersionRef(version.number, version.digest)


def _attempts(
    session: Session, channel: Channel, policy: Policy, now: datetime
) -> Mapping[str, Mapping[str, Attempt]]:
    """Return the attempts of each content of the channel's prefix, by suite version."""
    suites = {rule.suite for rule in policy.rules}
    found: dict[str, dict[str, Attempt]] = defaultdict(dict)
    measured = measured_contents(session, channel.prefix_id, suites, until=now)
    for suite, contents in measured.items():
        for number, content in enumerate(contents, start=1):
            found[content][suite] = Attempt(number, len(contents))
    return found


def _notices(
    session: Session, channel: Channel, contents: Sequence[str], now: datetime
) -> Mapping[str, Sequence[Notice]]:
    """Return the notices of void evaluations and of earlier rejections, by content."""
    found: dict[str, list[Notice]] = defaultdict(list)
    for row in void_evaluations(session, contents, until=now):
        notice = void_notice(_void(row, channel.prefix.namespace))
        found[expect(row.content)].append(notice)
    for content, review in rejections_of(session, channel, contents, before=now):
        rejection = Rejection(
            review.promotion_id, review.reviewer.name, review.comment, review.reviewed_at
        )
        found[content].append(rejection_notice(rejection))
    return found


def _void(row: EvaluationRow, namespace: str) -> Void:
    voided, version = expect(row.voided), expect(row.version)
    visible = version.prefix.namespace == namespace
    return Void(
        evaluation_id=row.id,
        suite=f"{row.suite.name}@{row.suite.version}",
        cells={
            CellKey(cell.metric, cell.persona, cell.locale): Cell(
                cell.samples, cell.mean, cell.stderr
            )
            for cell in row.cells
        },
        at=voided.voided_at,
        by=voided.voided_by.name if visible else None,
        reason=voided.reason if visible else None,
    )
