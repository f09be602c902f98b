"""Revoking a version on all channels at once, permanently."""

from datetime import datetime

from sqlalchemy.orm import Session

from app.db import audit
from app.db.channels import allocation_of, lock_channels_serving
from app.db.models import Channel, Prefix, Revocation, Version
from app.db.promotions import pending_below
from app.db.session import Sessions, expect
from app.db.versions import version_numbered, versions_numbered
from app.domain.audit.chain import Facts, audit_event, subject_of
from app.domain.governance.allocation import without
from app.domain.governance.lifecycle import GenerationKind, PromotionState
from app.domain.identity.access import Caller, Role
from app.domain.naming import PrefixName
from app.services.governance.execution import Move, close, execute, record, require_not_revoked
from app.services.identity.visibility import lock_prefix_as, missing_version


def revoke(
    sessions: Sessions,
    *,
    prefix: PrefixName,
    number: int,
    reason: str,
    caller: Caller,
    now: datetime,
) -> Version:
    """Revoke a version and remove it from every channel that serves it, in one transaction.

    Its share of an allocation goes to the other versions in proportion; a channel that served
    only this version becomes empty.

    Raises:
        NotFoundError: The version does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not an approver of this prefix.
        VersionRevokedError: The version is already revoked.
    """
    with sessions.begin() as session:
        row = lock_prefix_as(Role.APPROVER, session, caller, prefix)
        version = version_numbered(session, prefix, number)
        if version is None:
            raise missing_version(prefix, number)
        require_not_revoked(version)
        session.add(Revocation(version.id, reason, now, caller.id))
        facts: Facts = {
            "version": number,
            "version_id": str(version.id),
            "digest": version.digest,
            "reason": reason,
        }
        event = audit_event(subject_of(prefix), "version.revoke", facts, caller=caller, now=now)
        audit.append(session, event)
        for channel in lock_channels_serving(session, version):
            _remove_from(session, channel, version, reason, caller, now)
        _supersede_pending(session, row, version, caller, now)
        session.expire(version)
        return expect(version_numbered(session, prefix, number))


def _remove_from(
    session: Session,
    channel: Channel,
    version: Version,
    reason: str,
    caller: Caller,
    now: datetime,
) -> None:
    remaining = without(allocation_of(session, channel), version.number)
    prefix = channel.prefix.full_name
    versions = versions_numbered(session, prefix, [share.version for share in remaining])
    shares = [(versions[share.version], share.weight) for share in remaining]
    move = Move(GenerationKind.REVOCATION, shares, reason)
    execute(session, channel, move, caller=caller, now=now)


def _supersede_pending(
    session: Session, prefix: Prefix, version: Version, caller: Caller, now: datetime
) -> None:
    for promotion in pending_below(session, prefix):
        if version.id in {share.version_id for share in promotion.shares}:
            reason = f"Version {version.number} was revoked."
            close(promotion, PromotionState.SUPERSEDED, reason, now)
            record(session, promotion, "promotion.supersede", {"reason": reason}, caller, now)
