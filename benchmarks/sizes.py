"""The extent of a run: full in 15 to 30 minutes, or quick in three."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes, durations and repetitions of the measurements."""

    connections: tuple[int, ...] = (1, 16, 64)
    rounds: int = 3
    seconds: float = 2.0
    transfers_mb: tuple[float, ...] = (3, 64, 268)
    transfer_rounds: int = 3
    journeys: int = 7
    starts: int = 2
    versions: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    rows: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    contents: int = 100_000


FULL: Final = Sizes()
QUICK: Final = Sizes(
    connections=(1, 16),
    rounds=2,
    seconds=0.7,
    transfers_mb=(3,),
    journeys=3,
    starts=1,
    versions=(1_000, 10_000),
    rows=(1_000, 100_000),
    contents=10_000,
)
