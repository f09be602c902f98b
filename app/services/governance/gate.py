"""Gate evaluation: reading rows and handing them to the pure gate for a decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app.db.channels import allocation_of, channel_named
from app.db.models import Channel, Prefix, Promotion, Version
from app.db.promotions import decision_document, pending_below
from app.db.session import Sessions
from app.domain.errors import GateNotConfiguredError
from app.domain.governance.allocation import ALL_TRAFFIC, Allocation, Share, growing
from app.domain.governance.approvals import subject_digest
from app.domain.governance.gate import Decision
from app.domain.identity.access import Caller
from app.domain.naming import PrefixName
from app.services.governance.execution import require_not_revoked
from app.services.governance.gate_inputs import decide_on, gate_inputs
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
    # A dry run may ask for the current allocation: then all its versions are candidates.
    grown = growing(current, wanted) or wanted
    candidates = [versions[share.version] for share in grown]
    inputs = gate_inputs(session, channel, candidates, current=current, now=now)
    decision = decide_on(channel.policy, inputs, now)
    allocation = {versions[share.version].digest: share.weight for share in wanted}
    subject = subject_digest(allocation, decision.evidence_digest, channel.policy.digest)
    return GateEvaluation(decision, subject)


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
