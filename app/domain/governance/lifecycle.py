"""The states of a promotion, and the transitions between them in one table."""

from enum import StrEnum
from typing import Final

from app.domain.errors import InvalidTransitionError


class PromotionState(StrEnum):
    PENDING = "pending"
    EXECUTED = "executed"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


# The minimum number of characters in the reason for a break-glass allocation.
MIN_REASON_CHARACTERS: Final = 20

TRANSITIONS: Final[dict[PromotionState, frozenset[PromotionState]]] = {
    PromotionState.PENDING: frozenset(set(PromotionState) - {PromotionState.PENDING}),
    PromotionState.EXECUTED: frozenset(),
    PromotionState.REJECTED: frozenset(),
    PromotionState.WITHDRAWN: frozenset(),
    PromotionState.EXPIRED: frozenset(),
    PromotionState.SUPERSEDED: frozenset(),
}


class GenerationKind(StrEnum):
    """The operation that created a generation of a channel."""

    PROMOTION = "promotion"
    ROLLBACK = "rollback"
    BREAK_GLASS = "break-glass"
    REVOCATION = "revocation"


def require_move(before: PromotionState, after: PromotionState) -> None:
    """Raise InvalidTransitionError unless a promotion may go from `before` to `after`."""
    if after not in TRANSITIONS[before]:
        message = f"The promotion is {before} and can no longer become {after}; request a new one."
        raise InvalidTransitionError(message, state=str(before))
