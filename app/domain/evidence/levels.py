"""Evidence levels: how much the registry knows of an evaluation, of which a policy demands one."""

from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far an evaluator's clock may differ from the registry's."""


class Level(IntEnum):
    """Each level knows all that the one below knows.

    REPORTED has aggregates, or a run that ended before the registry had the content. RECOMPUTED has
    a row for each sample. SEALED accounts for each sample that the suite fixed before the run.
    """

    REPORTED = 0
    RECOMPUTED = 1
    SEALED = 2


def level_of(
    *, has_samples: bool, sealed: bool, finished_at: datetime, pushed_at: datetime | None
) -> tuple[Level, str | None]:
    """Return the level of an evaluation, and the reason if it is the lowest.

    `pushed_at` is when the content was first pushed; None for a base model, which exists before it
    is registered.
    """
    if not has_samples:
        return Level.REPORTED, "Only aggregates were reported."
    if pushed_at is not None and finished_at + CLOCK_SKEW < pushed_at:
        reason = f"The run finished before the content was first pushed, at {pushed_at:%Y-%m-%d}."
        return Level.REPORTED, reason
    return (Level.SEALED if sealed else Level.RECOMPUTED), None
