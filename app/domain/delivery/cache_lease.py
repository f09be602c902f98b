"""Cache leases: how long a process may serve from its cache, and which writes wait for it.

A process serves from its cache only for a limited time after it has proved that it received every
invalidation up to then. A write therefore never waits longer than that for its invalidation.
"""

import math
from typing import Final

LEASE_S: Final = 2.0
PROOF_INTERVAL_S: Final = 0.5

# How long a write waits for processes that do not confirm its invalidation: by then all their
# leases have expired, even if their clocks run slightly slower than this one.
LONGEST_WAIT_S: Final = LEASE_S + 0.05

# A process without a proof for this long loses its registration, and serves from the database
# until it registers again, regardless of clocks.
ABANDONED_AFTER_S: Final = 5 * LEASE_S

# Actions that leave every cached response valid: they add an object, or move a promotion without
# executing it, and responses about those always come from the database. Every other action waits,
# including actions that are not known yet.
_WITHOUT_INVALIDATION: Final = frozenset(
    {
        "base-model.register",
        "evaluation.record",
        "policy.create",
        "prefix.create",
        "principal.create",
        "promotion.approve",
        "promotion.expire",
        "promotion.hold",
        "promotion.refuse",
        "promotion.reject",
        "promotion.request",
        "promotion.withdraw",
        "signer.change",
        "suite.register",
        "token.issue",
        "version.push",
    }
)


def requires_invalidation(action: str) -> bool:
    """Return whether a write waits until every process has invalidated its cache."""
    return action not in _WITHOUT_INVALIDATION


class CacheLease:
    """The time until which a cache may be served from, in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._until = -math.inf

    def renew(self, begun: float) -> None:
        """Record a proof: every invalidation committed before `begun` has been received."""
        self._until = begun + LEASE_S

    def end(self) -> None:
        self._until = -math.inf

    def holds(self, now: float) -> bool:
        return now < self._until
