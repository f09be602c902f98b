"""Gate evaluation: reading rows and handing them to the pure gate for a decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.channels import allocation_of, channel_named
from app.db.evaluations import evidence_for
from app.db.models import Channel, EvaluationRow, PolicyRow, Prefix, Promotion, Version
from app.db.policies import policy_of, policy_ref
from app.db.promotions import decision_document, pending_below
from app.db.session import Sessions
from app.db.versions import authors_of, versions_numbered
from app.domain.errors import GateNotConfiguredError
from app.domain.evidence.evaluation import Evaluation
from app.domain.governance.allocation import ALL_TRAFFIC, Allocation, Share, growing, heaviest
from app.domain.governance.approvals import subject_digest
from app.domain.governance.gate import Candidate, Decision, Incumbent, VersionRef, decide
from app.domain.governance.policies import Policy, compared_metrics
from app.domain.identity.access import Caller
from app.domain.naming import PrefixName
from app.services.governance.execution import require_not_revoked
from app.services.identity.visibility import visible_version


@dataclass(frozen=True, slots=True)
class GateEvaluation:
    """A decision, and the digest of the approval subject that reviews approve."""

    decision: Decision
    subject_digest: str


def evaluate(
    session: Session,
    channel: Channel,
    wanted: Allocation,
    versions: Mapping[int, Version],
    *,
    current: Allocation,
    now: datetime,
) -> GateEvaluation:
    """Evaluate the gate for replacing the allocation `current` of `channel` with `wanted`.

    The candidates are the versions whose traffic would grow. The number of queries is constant,
    independent of the history. `versions` holds the versions of `wanted` by number, with base
    model and prefix loaded.
    """
    policy = policy_of(channel.policy)
    # A dry run may ask for the current allocation: then all its versions are candidates.
    grown = growing(current, wanted) or wanted
    candidates = [versions[share.version] for share in grown]
    most = heaviest(current)
    incumbent = None if most is None else _incumbent(session, channel, most.version)
    evidence = _evidence(session, policy, candidates, incumbent, now)
    decision = decide_on(channel.policy, candidates, incumbent, evidence, now)
    allocation = {versions[share.version].digest: share.weight for share in wanted}
    subject = subject_digest(allocation, decision.evidence_digest, channel.policy.digest)
    return GateEvaluation(decision, subject)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evaluations and authors of contents, and the control runs of base models by row id."""

    contents: Mapping[str, Sequence[Evaluation]]
    base_models: Mapping[UUID, Sequence[Evaluation]]
    authors: Mapping[str, frozenset[UUID]]

    def of(self, version: Version) -> tuple[Evaluation, ...]:
        return tuple(self.contents.get(version.content, ()))

    def control_runs(self, version: Version) -> tuple[Evaluation, ...]:
        return tuple(self.base_models.get(version.base_model_id, ()))


def decide_on(
    policy: PolicyRow,
    versions: Sequence[Version],
    incumbent: Version | None,
    evidence: Evidence,
    now: datetime,
) -> Decision:
    """Convert rows to values and apply the pure gate; used by evaluation and by replay."""
    compared = None if incumbent is None else Incumbent(_ref(incumbent), evidence.of(incumbent))
    candidates = [_candidate(version, evidence) for version in versions]
    return decide(policy_of(policy), policy_ref(policy), candidates, compared, now)


def _evidence(
    session: Session,
    policy: Policy,
    candidates: Sequence[Version],
    incumbent: Version | None,
    now: datetime,
) -> Evidence:
    """Read the evidence that the policy needs; samples only of the metrics it compares."""
    compared = compared_metrics(policy)
    contents = [version.content for version in candidates]
    authors = authors_of(session, contents, until=now)
    if incumbent is not None and compared:
        contents.append(incumbent.content)
    of_contents = evidence_for(session, EvaluationRow.content, contents, compared)
    margins = [rule.no_worse_than for rule in policy.rules if rule.no_worse_than is not None]
    if all(margin.base is None for margin in margins):
        return Evidence(of_contents, {}, authors)
    bases = [version.base_model_id for version in candidates]
    of_bases = evidence_for(session, EvaluationRow.base_model_id, bases, compared)
    return Evidence(of_contents, of_bases, authors)


def _candidate(version: Version, evidence: Evidence) -> Candidate:
    return Candidate(
        ref=_ref(version),
        peft_type=version.peft_type,
        virtual_tokens=version.virtual_tokens,
        parameter_fraction=version.parameter_fraction,
        card=version.card,
        namespace=version.prefix.namespace,
        authors=evidence.authors[version.content],
        owner_id=version.prefix.owner_id,
        evaluations=evidence.of(version),
        base_model=version.base_model.name,
        control_runs=evidence.control_runs(version),
    )


def _incumbent(session: Session, channel: Channel, number: int) -> Version:
    return versions_numbered(session, channel.prefix.full_name, [number])[number]


def _ref(version: Version) -> VersionRef:
    return VersionRef(version.number, version.digest)


def dry_run(
    sessions: Sessions,
    *,
    prefix: PrefixName,
    number: int,
    channel_name: str,
    caller: Caller,
    now: datetime,
) -> Decision:
    """Return the decision that the gate would make for giving a version all of the traffic.

    Raises:
        NotFoundError: The version does not exist, or is not visible to the caller.
        GateNotConfiguredError: The channel has no policy, so it is closed.
        VersionRevokedError: The version is revoked, so no gate can pass it.
    """
    caller.require_visible(prefix)
    with sessions() as session:
        version = visible_version(session, caller, prefix, number)
        require_not_revoked(version)
        channel = channel_named(session, prefix, channel_name)
        if channel is None:
            raise not_configured(prefix, channel_name)
        wanted = (Share(number, ALL_TRAFFIC),)
        current = allocation_of(session, channel)
        versions = {number: version}
        return evaluate(session, channel, wanted, versions, current=current, now=now).decision


def not_configured(prefix: PrefixName, channel_name: str) -> GateNotConfiguredError:
    return GateNotConfiguredError(
        f"{prefix} has no channel {channel_name} that is bound to a policy, so it accepts no "
        "promotions; an admin can bind it with "
        f"PUT /v1/prefixes/{prefix}/channels/{channel_name}."
    )


def reevaluate_pending(session: Session, prefix: Prefix, *, now: datetime) -> None:
    """Re-evaluate every pending promotion of `prefix`, in the transaction of the change.

    An approval is of one exact subject. If the subject changes, earlier approvals no longer
    count and the wait restarts.
    """
    session.flush()
    for promotion in pending_below(session, prefix):
        reevaluate(session, promotion, now=now)


def reevaluate(session: Session, promotion: Promotion, *, now: datetime) -> GateEvaluation:
    """Re-evaluate one promotion and store the decision on it."""
    versions = {share.version.number: share.version for share in promotion.shares}
    wanted = tuple(Share(share.version.number, share.weight) for share in promotion.shares)
    current = allocation_of(session, promotion.channel)
    gate_evaluation = evaluate(
        session, promotion.channel, wanted, versions, current=current, now=now
    )
    promotion.decision = decision_document(gate_evaluation.decision)
    promotion.policy_id = promotion.channel.policy_id
    promotion.evidence_digest = gate_evaluation.decision.evidence_digest
    if promotion.subject_digest != gate_evaluation.subject_digest:
        promotion.subject_digest = gate_evaluation.subject_digest
        promotion.subject_since = now
        promotion.due_at = None
    return gate_evaluation
