"""Revoking a content on all channels of all prefixes, permanently."""

import logging
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from app.db.channels import allocation_of, lock_channels_serving
from app.db.models import Channel, Prefix, Revocation, Version, Withdrawal
from app.db.promotions import pending_below
from app.db.session import expect
from app.db.versions import (
    lock_contents,
    prefixes_with_content,
    version_numbered,
    versions_numbered,
    versions_with_content,
    withdrawals,
)
from app.domain.audit.chain import Facts, subject_of
from app.domain.governance.allocation import without
from app.domain.governance.lifecycle import GenerationKind, PromotionState
from app.domain.identity.access import Role, role_on
from app.domain.naming import PrefixName
from app.services.governance.execution import (
    Move,
    close,
    execute,
    record,
    require_none_revoked,
    require_not_revoked,
)
from app.services.identity.visibility import lock_existing_prefix, missing_version
from app.services.transactions import Transaction, Transactions

_BATCH: Final = 100
_log = logging.getLogger(__name__)


def revoke(transactions: Transactions, *, prefix: PrefixName, number: int, reason: str) -> Version:
    """Revoke the content of a version.

    In the same transaction every channel of the prefix stops serving it. Its share of an
    allocation goes to the other versions in proportion; a channel that served only this content
    becomes empty. Other prefixes with the content follow with `withdraw_revoked`, each in a
    transaction of its own, so that no transaction waits for two chains.

    Raises:
        NotFoundError: The version does not exist, or is not visible to the caller.
        ForbiddenError: The caller is not an approver of this prefix.
        VersionRevokedError: The content is already revoked.
    """
    needs, subject = role_on(Role.APPROVER, prefix), subject_of(prefix)
    with transactions.begin("version.revoke", needs, subject=subject) as transaction:
        session = transaction.session
        row = lock_existing_prefix(session, prefix)
        version = version_numbered(session, prefix, number)
        if version is None:
            raise missing_version(prefix, number)
        require_not_revoked(version)
        revoked = lock_contents(session, [version.content], for_revocation=True)
        require_none_revoked([version], revoked)
        session.add(_revocation(transaction, version, prefix, reason))
        facts: Facts = {
            "version": number,
            "version_id": str(version.id),
            "digest": version.digest,
            "content": version.content,
            "reason": reason,
        }
        transaction.record("version.revoke", facts)
        others = set(prefixes_with_content(session, version.content)) - {row.id}
        session.add_all(Withdrawal(version.content, other) for other in others)
        versions = versions_with_content(session, row.id, version.content)
        _withdraw(transaction, row, versions, reason)
        session.expire(version)
        found = expect(version_numbered(session, prefix, number))
    if not transactions.is_keyed:  # otherwise it is not committed yet, and the background follows
        withdraw_revoked(transactions.of_server())
    return found


def _revocation(
    transaction: Transaction, version: Version, prefix: PrefixName, reason: str
) -> Revocation:
    return Revocation(
        content=version.content,
        version_id=version.id,
        namespace=prefix.namespace,
        reason=reason,
        revoked_at=transaction.now,
        revoked_by_id=transaction.caller.id,
    )


def _withdraw(
    transaction: Transaction, prefix: Prefix, versions: Sequence[Version], reason: str
) -> None:
    """Remove versions from every channel of their prefix, and supersede what would serve them."""
    session, ids = transaction.session, [version.id for version in versions]
    numbers = {version.number for version in versions}
    for channel in lock_channels_serving(session, prefix, ids):
        _remove_from(transaction, channel, numbers, reason)
    for promotion in pending_below(session, prefix):
        if {share.version_id for share in promotion.shares}.isdisjoint(ids):
            continue
        gone = ", ".join(str(number) for number in sorted(numbers))
        because = f"Version {gone} was revoked."
        close(promotion, PromotionState.SUPERSEDED, because, transaction.now)
        record(transaction, promotion, "promotion.supersede", {"reason": because})


def _remove_from(
    transaction: Transaction, channel: Channel, numbers: set[int], reason: str
) -> None:
    session = transaction.session
    remaining = without(allocation_of(session, channel), numbers)
    prefix = channel.prefix.full_name
    versions = versions_numbered(session, prefix, [share.version for share in remaining])
    shares = [(versions[share.version], share.weight) for share in remaining]
    execute(transaction, channel, Move(GenerationKind.REVOCATION, shares, reason))


def withdraw_revoked(server: Transactions) -> int:
    """Withdraw contents that were revoked in other prefixes, in transactions of the server.

    Return how many prefixes were examined. A failure affects one prefix, and the next call tries
    it again.
    """
    with server.read() as session:
        due = withdrawals(session, limit=_BATCH)
    for prefix_id, content in due:
        try:
            _withdraw_from(server, prefix_id, content)
        except SQLAlchemyError as error:
            _log.warning("%s is not withdrawn yet: %s", content, type(error).__name__)
        except Exception:  # noqa: BLE001 - logged with its traceback
            _log.exception("%s could not be withdrawn", content)
    return len(due)


def _withdraw_from(server: Transactions, prefix_id: UUID, content: str) -> None:
    with server.read() as session:
        prefix = session.get_one(Prefix, prefix_id).full_name
    needs, subject = role_on(Role.ADMIN, prefix), subject_of(prefix)
    with server.begin("version.revoke", needs, subject=subject) as transaction:
        session = transaction.session
        row = lock_existing_prefix(session, prefix)
        withdrawal = session.get(Withdrawal, (content, prefix_id))
        if withdrawal is None:  # another server was faster
            return
        session.delete(withdrawal)
        versions = versions_with_content(session, prefix_id, content)
        reason = expect(versions[0].revocation).reason_in(prefix.namespace)
        facts: Facts = {
            "versions": [version.number for version in versions],
            "content": content,
            "reason": reason,
        }
        transaction.record("version.revoke", facts)
        _withdraw(transaction, row, versions, reason)
