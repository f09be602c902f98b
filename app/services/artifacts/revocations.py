"""Revoking a version on all channels at once, permanently."""

from app.db.channels import allocation_of, lock_channels_serving
from app.db.models import Channel, Prefix, Revocation, Version
from app.db.promotions import pending_below
from app.db.session import expect
from app.db.versions import version_numbered, versions_numbered
from app.domain.audit.chain import Facts, subject_of
from app.domain.governance.allocation import without
from app.domain.governance.lifecycle import GenerationKind, PromotionState
from app.domain.identity.access import Role, role_on
from app.domain.naming import PrefixName
from app.services.governance.execution import Move, close, execute, record, require_not_revoked
from app.services.identity.visibility import lock_existing_prefix, missing_version
from app.services.transactions import Transaction, Transactions


def revoke(transactions: Transactions, *, prefix: PrefixName, number: int, reason: str) -> Version:
    """Revoke a version and remove it from every channel that serves it, in one transaction.

    Its share of an allocation goes to the other versions in proportion; a channel that served
    only this version becomes empty.

    Raises:
        NotFoundError: The version does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not an approver of this prefix.
        VersionRevokedError: The version is already revoked.
    """
    needs, subject = role_on(Role.APPROVER, prefix), subject_of(prefix)
    with transactions.begin("version.revoke", needs, subject=subject) as transaction:
        session = transaction.session
        row = lock_existing_prefix(session, prefix)
        version = version_numbered(session, prefix, number)
        if version is None:
            raise missing_version(prefix, number)
        require_not_revoked(version)
        session.add(Revocation(version.id, reason, transaction.now, transaction.caller.id))
        facts: Facts = {
            "version": number,
            "version_id": str(version.id),
            "digest": version.digest,
            "reason": reason,
        }
        transaction.record("version.revoke", facts)
        for channel in lock_channels_serving(session, version):
            _remove_from(transaction, channel, version, reason)
        _supersede_pending(transaction, row, version)
        session.expire(version)
        return expect(version_numbered(session, prefix, number))


def _remove_from(transaction: Transaction, channel: Channel, version: Version, reason: str) -> None:
    session = transaction.session
    remaining = without(allocation_of(session, channel), version.number)
    prefix = channel.prefix.full_name
    versions = versions_numbered(session, prefix, [share.version for share in remaining])
    shares = [(versions[share.version], share.weight) for share in remaining]
    move = Move(GenerationKind.REVOCATION, shares, reason)
    execute(transaction, channel, move)


def _supersede_pending(transaction: Transaction, prefix: Prefix, version: Version) -> None:
    for promotion in pending_below(transaction.session, prefix):
        if version.id in {share.version_id for share in promotion.shares}:
            reason = f"Version {version.number} was revoked."
            close(promotion, PromotionState.SUPERSEDED, reason, transaction.now)
            record(transaction, promotion, "promotion.supersede", {"reason": reason})
