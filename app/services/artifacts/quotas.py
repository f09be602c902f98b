"""Quotas of namespaces: setting them, refusing additions beyond them, and counting again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy.orm import Session

from app.db.quotas import (
    add_use,
    announced_in,
    counted_use,
    lock_quota,
    quota_of,
    recorded_use,
)
from app.domain.artifacts.quotas import (
    Announced,
    NamespaceQuota,
    OwnLimits,
    QuotaLimits,
    Stored,
    require_fit,
    require_fit_announced,
)
from app.domain.audit.chain import REGISTRY, Facts
from app.domain.delivery.conditional_requests import Precondition, entity_tag
from app.domain.identity.access import EVERYWHERE, Role, role_in
from app.services.transactions import Transactions

_ADMIN: Final = role_in(Role.ADMIN, EVERYWHERE)
_NONE: Final = Precondition()


def set_limits(
    transactions: Transactions,
    *,
    namespace: str,
    limits: OwnLimits,
    precondition: Precondition = _NONE,
) -> NamespaceQuota:
    """Replace the limits of a namespace; setting the present ones changes nothing.

    They may be below the use: then nothing is removed, and nothing can be added.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
        PreconditionFailedError: The limits have changed since the caller read them.
    """
    with transactions.begin("quota.set", _ADMIN, subject=REGISTRY) as transaction:
        row = lock_quota(transaction.session, namespace)
        found = quota_of(transaction.session, namespace)
        precondition.require(f"The quota of {namespace}", quota_tag(found))
        if found.own == limits:
            return found
        row.limit_bytes = limits.stored_bytes
        row.limit_versions = limits.versions
        row.limit_requests = limits.requests
        facts: Facts = {
            "namespace": namespace,
            "before": asdict(found.own),
            "limits": asdict(limits),
        }
        transaction.record("quota.set", facts)
        return NamespaceQuota(namespace, found.used, limits)


def quota_tag(quota: NamespaceQuota) -> str:
    """Return the entity tag of a quota, which changes with its limits and not with its use."""
    own = quota.own
    return entity_tag(quota.namespace, own.stored_bytes, own.versions, own.requests)


def require_room(
    transactions: Transactions, namespace: str, added: Stored, defaults: QuotaLimits
) -> None:
    """Check, as a read, that an addition fits now; `charge` decides when it takes effect.

    Raises:
        QuotaExceededError: It would pass the quota of the namespace.
    """
    with transactions.read() as session:
        require_fit(quota_of(session, namespace), added, defaults)


def charge(session: Session, namespace: str, added: Stored, defaults: QuotaLimits) -> None:
    """Add to the use of a namespace, in the transaction that adds the rows.

    Call it last: the counter stays locked until the transaction ends, so that of concurrent
    additions each sees the ones before it.

    Raises:
        QuotaExceededError: The addition would pass the quota of the namespace.
    """
    if added != Stored():
        require_fit(add_use(session, namespace, added), added, defaults)


def require_room_to_announce(
    session: Session, namespace: str, sizes_bytes: Sequence[int], defaults: QuotaLimits
) -> None:
    """Check that uploads may be announced together; with `lock_quota` before, it stays so.

    Raises:
        QuotaExceededError: They would pass the quota of the namespace.
    """
    added = Announced(len(sizes_bytes), sum(sizes_bytes))
    found = quota_of(session, namespace)
    require_fit_announced(found, announced_in(session, namespace), added, defaults)


@dataclass(frozen=True, slots=True)
class Miscount:
    """A namespace whose counters differ from its rows."""

    namespace: str
    recorded: Stored
    counted: Stored


def miscounts(transactions: Transactions, *, repair: bool = False) -> list[Miscount]:
    """Return the namespaces whose counters differ from their rows; with `repair`, correct them.

    Reading the rows takes a time in proportion to their number. A namespace that seems to differ
    is counted again under the lock of its counters, because a push may have come in between.

    Raises:
        ForbiddenError: The caller is not an admin of the whole registry.
    """
    _ADMIN(transactions.caller)
    with transactions.read() as session:
        recorded, counted = recorded_use(session), counted_use(session)
    suspect = [
        namespace
        for namespace in sorted({*recorded, *counted})
        if recorded.get(namespace, Stored()) != counted.get(namespace, Stored())
    ]
    found = [_recount(transactions, namespace, repair=repair) for namespace in suspect]
    return [each for each in found if each is not None]


def _recount(transactions: Transactions, namespace: str, *, repair: bool) -> Miscount | None:
    with transactions.begin("quota.recount", _ADMIN, subject=REGISTRY) as transaction:
        session = transaction.session
        row = lock_quota(session, namespace)
        # A second statement: the first one's snapshot is older than the lock it waited for.
        counted = counted_use(session, namespace).get(namespace, Stored())
        found = Miscount(namespace, Stored(row.used_bytes, row.used_versions), counted)
        if found.recorded == counted:
            return None
        if repair:
            row.used_bytes, row.used_versions = counted.stored_bytes, counted.versions
            facts: Facts = {
                "namespace": namespace,
                "recorded": asdict(found.recorded),
                "counted": asdict(counted),
            }
            transaction.record("quota.recount", facts)
        return found
