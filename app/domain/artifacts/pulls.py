"""Pulls: who came by a version, how, and how often."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class PullWay(StrEnum):
    """How a principal came by a version: it was told where to fetch it, or fetched it here."""

    RESOLVE = "resolve"
    DOWNLOAD = "download"


@dataclass(frozen=True, slots=True, order=True)
class PullKey:
    version_id: UUID
    principal_id: UUID
    way: PullWay


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something happened, first and last."""

    times: int
    first_at: datetime
    last_at: datetime

    def and_also(self, other: "Tally") -> "Tally":
        first_at, last_at = min(self.first_at, other.first_at), max(self.last_at, other.last_at)
        return Tally(self.times + other.times, first_at, last_at)
