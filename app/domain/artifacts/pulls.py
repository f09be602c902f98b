"""Pulls: which principal obtained a version, in which way, and how often."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class PullWay(StrEnum):
    """How a principal obtained a version: its address from `resolve`, or its bytes from here."""

    RESOLVE = "resolve"
    DOWNLOAD = "download"


@dataclass(frozen=True, slots=True, order=True)
class PullKey:
    version_id: UUID
    principal_id: UUID
    way: PullWay


@dataclass(frozen=True, slots=True)
class Tally:
    """The number of pulls, and the times of the first and the last."""

    times: int
    first_at: datetime
    last_at: datetime

    def merged_with(self, other: "Tally") -> "Tally":
        first_at, last_at = min(self.first_at, other.first_at), max(self.last_at, other.last_at)
        return Tally(self.times + other.times, first_at, last_at)
