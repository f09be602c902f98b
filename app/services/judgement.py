"""The gate applied to what is stored: the bridge from rows to one decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app.db.channels import allocation_of
from app.db.evaluations import evidence_for
from app.db.models import Channel, Version
from app.db.policies import policy_of, policy_ref
from app.db.versions import versions_numbered
from app.domain.allocation import Allocation, growing, heaviest
from app.domain.approvals import subject_digest
from app.domain.evidence import Evaluation
from app.domain.gate import Candidate, Decision, VersionRef, decide


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
    now: datetime,
) -> Judgement:
    """Judge every version whose traffic would grow if `channel` served `wanted`.

    A constant number of queries, whatever the history. `versions` holds, by number, the
    versions of `wanted` with base model and prefix loaded.
    """
    policy = policy_of(channel.policy)
    current = allocation_of(session, channel)
    # What would change nothing can still be asked about: then all of it is judged.
    grown = growing(current, wanted) or wanted
    judged = [versions[share.version] for share in grown]
    evidence = evidence_for(session, [version.id for version in judged])
    candidates = [_candidate(version, evidence[version.id]) for version in judged]
    incumbent = _incumbent(session, channel, current)
    decision = decide(policy, policy_ref(channel.policy), candidates, incumbent, now)
    allocation = {versions[share.version].digest: share.weight for share in wanted}
    subject = subject_digest(allocation, decision.evidence_digest, channel.policy.digest)
    return Judgement(decision, subject)


def _candidate(version: Version, evaluations: Sequence[Evaluation]) -> Candidate:
    return Candidate(
        ref=VersionRef(version.number, version.digest),
        peft_type=version.peft_type,
        virtual_tokens=version.virtual_tokens,
        parameter_fraction=version.parameter_fraction,
        card=version.card,
        author_id=version.created_by_id,
        owner_id=version.prefix.owner_id,
        evaluations=tuple(evaluations),
    )


def _incumbent(session: Session, channel: Channel, current: Allocation) -> VersionRef | None:
    """Return the version that serves most of the channel's traffic now."""
    most = heaviest(current)
    if most is None:
        return None
    version = versions_numbered(session, channel.prefix.full_name, [most.version])[most.version]
    return VersionRef(version.number, version.digest)
