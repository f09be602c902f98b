"""The gate applied to what is stored: the bridge from rows to one decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.evaluations import evidence_for
from app.db.models import Channel, EvaluationRow, PolicyRow, Version
from app.db.policies import policy_of, policy_ref
from app.db.versions import versions_numbered
from app.domain.allocation import Allocation, growing, heaviest
from app.domain.approvals import subject_digest
from app.domain.evidence import Evaluation
from app.domain.gate import Candidate, Decision, Incumbent, VersionRef, decide
from app.domain.policies import Policy, compared_metrics


@dataclass(frozen=True, slots=True)
class Judgement:
    """A decision with what it is bound to: `subject_digest` is what a review approves."""

    decision: Decision
    subject_digest: str


def judge(
    session: Session,
    channel: Channel,
    wanted: Allocation,
    versions: Mapping[int, Version],
    *,
    current: Allocation,
    now: datetime,
) -> Judgement:
    """Judge every version whose traffic would grow if `channel` served `wanted`, not `current`.

    A constant number of queries, whatever the history. `versions` holds, by number, the
    versions of `wanted` with base model and prefix loaded.
    """
    policy = policy_of(channel.policy)
    # What would change nothing can still be asked about: then all of it is judged.
    grown = growing(current, wanted) or wanted
    judged = [versions[share.version] for share in grown]
    most = heaviest(current)
    incumbent = None if most is None else _incumbent(session, channel, most.version)
    evidence = _evidence(session, policy, judged, incumbent)
    decision = decide_on(channel.policy, judged, incumbent, evidence, now)
    allocation = {versions[share.version].digest: share.weight for share in wanted}
    subject = subject_digest(allocation, decision.evidence_digest, channel.policy.digest)
    return Judgement(decision, subject)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is recorded of versions and, as control runs, of base models; by row id."""

    versions: Mapping[UUID, Sequence[Evaluation]]
    base_models: Mapping[UUID, Sequence[Evaluation]]

    def of(self, version: Version) -> tuple[Evaluation, ...]:
        return tuple(self.versions.get(version.id, ()))

    def control_runs(self, version: Version) -> tuple[Evaluation, ...]:
        return tuple(self.base_models.get(version.base_model_id, ()))


def decide_on(
    policy: PolicyRow,
    judged: Sequence[Version],
    incumbent: Version | None,
    evidence: Evidence,
    now: datetime,
) -> Decision:
    """Hand rows to the pure gate: the one bridge, for deciding and for deciding again."""
    compared = None if incumbent is None else Incumbent(_ref(incumbent), evidence.of(incumbent))
    candidates = [_candidate(version, evidence) for version in judged]
    return decide(policy_of(policy), policy_ref(policy), candidates, compared, now)


def _evidence(
    session: Session, policy: Policy, judged: Sequence[Version], incumbent: Version | None
) -> Evidence:
    """Read what the policy needs: samples of the cells it compares, and no others."""
    compared = compared_metrics(policy)
    versions = [version.id for version in judged]
    if incumbent is not None and compared:
        versions.append(incumbent.id)
    of_versions = evidence_for(session, EvaluationRow.version_id, versions, compared)
    margins = [rule.no_worse_than for rule in policy.rules if rule.no_worse_than is not None]
    if all(margin.base is None for margin in margins):
        return Evidence(of_versions, {})
    bases = [version.base_model_id for version in judged]
    of_bases = evidence_for(session, EvaluationRow.base_model_id, bases, compared)
    return Evidence(of_versions, of_bases)


def _candidate(version: Version, evidence: Evidence) -> Candidate:
    return Candidate(
        ref=_ref(version),
        peft_type=version.peft_type,
        virtual_tokens=version.virtual_tokens,
        parameter_fraction=version.parameter_fraction,
        card=version.card,
        author_id=version.created_by_id,
        owner_id=version.prefix.owner_id,
        evaluations=evidence.of(version),
        base_model=version.base_model.name,
        control_runs=evidence.control_runs(version),
    )


def _incumbent(session: Session, channel: Channel, number: int) -> Version:
    return versions_numbered(session, channel.prefix.full_name, [number])[number]


def _ref(version: Version) -> VersionRef:
    return VersionRef(version.number, version.digest)
