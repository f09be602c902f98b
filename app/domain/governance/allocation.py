"""Allocations: how a channel's traffic is split between versions, and which one a unit gets."""

import hashlib
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from app.domain.errors import Fault

ALL_TRAFFIC: Final = 10_000  # basis points
_HASH_SPAN: Final = 2**64


@dataclass(frozen=True, slots=True, order=True)
class Share:
    """A version, by number, and its share of the traffic in basis points."""

    version: int
    weight: int


Allocation = tuple[Share, ...]


def allocation_faults(shares: Sequence[Share]) -> tuple[Fault, ...]:
    """Return every reason why `shares` are not a split of all traffic."""
    faults = []
    total = sum(share.weight for share in shares)
    if total != ALL_TRAFFIC:
        message = f"The weights sum to {total} basis points; they must sum to {ALL_TRAFFIC}."
        faults.append(Fault("weights-do-not-sum", message))
    faults += [
        Fault("weight-not-positive", f"The weight of version {share.version} must be 1 or more.")
        for share in shares
        if share.weight < 1
    ]
    numbers = [share.version for share in shares]
    faults += [
        Fault("version-repeated", f"Version {number} is listed twice; list it once.")
        for number in sorted(set(numbers))
        if numbers.count(number) > 1
    ]
    return tuple(faults)


def growing(before: Iterable[Share], after: Iterable[Share]) -> Allocation:
    """Return the shares of `after` that are new or larger; the gate evaluates these."""
    weights = {share.version: share.weight for share in before}
    return tuple(share for share in after if share.weight > weights.get(share.version, 0))


def heaviest(shares: Iterable[Share]) -> Share | None:
    """Return the share with the most traffic, on a tie the older version; None if none exists."""
    return max(shares, key=lambda share: (share.weight, -share.version), default=None)


def without(shares: Iterable[Share], versions: Collection[int]) -> Allocation:
    """Return the split without `versions`, with the other shares grown in proportion.

    Rounding goes to the largest remainders, so the weights still sum to ALL_TRAFFIC.
    """
    left = [share for share in shares if share.version not in versions]
    total = sum(share.weight for share in left)
    if not left:
        return ()
    exact = [share.weight * ALL_TRAFFIC / total for share in left]
    weights = [math.floor(value) for value in exact]
    by_remainder = sorted(range(len(left)), key=lambda at: weights[at] - exact[at])
    for at in by_remainder[: ALL_TRAFFIC - sum(weights)]:
        weights[at] += 1
    return tuple(Share(share.version, weight) for share, weight in zip(left, weights, strict=True))


def share_of(unit: str | None, shares: Sequence[Share], *, salt: str) -> Share | None:
    """Return the share that serves `unit`; the same split always gives the same share.

    Weighted rendezvous hashing (Thaler & Ravishankar 1998; weights as in Schindelhauer &
    Schomaker 2005): each share draws -weight / ln(u) with u hashed from salt, unit and version,
    and the largest draw wins. When a version's weight grows and the others keep their
    proportions, units only move towards it; cut points on one line would also shift units
    between the others. Without a unit the heaviest share serves.
    """
    if unit is None or len(shares) < 2:  # noqa: PLR2004 - one share needs no draw
        return heaviest(shares)
    return max(shares, key=lambda share: (_draw(unit, share, salt), -share.version))


def _draw(unit: str, share: Share, salt: str) -> float:
    text = f"{salt}\n{share.version}\n{unit}".encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
    uniform = (number + 0.5) / _HASH_SPAN
    # u rounds to 1.0 for the last few of 2**64 numbers; an infinite draw keeps the order right.
    return math.inf if uniform >= 1.0 else -share.weight / math.log(uniform)
