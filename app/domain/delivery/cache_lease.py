"""When what a process remembers may be answered, and which changes wait until all have forgotten.

A process answers from memory only for so long after it has proved that it heard of every change
until then. Whoever changes something need therefore wait no longer than that.
"""

import math
from typing import Final

LEASE_S: Final = 2.0
PROOF_EVERY_S: Final = 0.5

# How long a change waits for processes that do not confirm it: all their leases have run out
# then, also if their clocks run a little slower than ours.
LONGEST_WAIT_S: Final = LEASE_S + 0.05

# A process that has not proved anything for so long answers from the database, whatever clocks
# say meanwhile, until it begins anew.
ABANDONED_S: Final = 5 * LEASE_S

# What only adds something new changes no answer that anybody can remember, and neither does what
# moves a promotion without executing it: nothing is answered from those but by the database.
# Every other action waits, also one that is not known yet.
_CHANGES_NO_ANSWER: Final = frozenset(
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
    """Return whether an action is acknowledged only once every process has heard of it."""
    return action not in _CHANGES_NO_ANSWER


class Lease:
    """For how long memory may be answered from, in seconds of a clock that only counts on."""

    def __init__(self) -> None:
        self._until = -math.inf

    def renew(self, begun: float) -> None:
        """Note a proof: whatever was committed before `begun` has been heard of."""
        self._until = begun + LEASE_S

    def end(self) -> None:
        self._until = -math.inf

    def holds(self, now: float) -> bool:
        return now < self._until
