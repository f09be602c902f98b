"""Near copies: contents whose elements differ little, found by their norms and sketches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.domain.artifacts.content import norm
from app.domain.artifacts.prefix import TensorScan

# The relative distance within which contents are near copies, unless a policy sets another.
NEAR: Final = 0.01

# Lists name the versions of this many near contents, the nearest ones.
LISTED: Final = 1_000

# The standard error of the sketched part of a distance, as a share of it: 64 projections of a
# difference that is spread over many elements have the errors of 64 normal variables.
STANDARD_ERROR: Final = 1 / math.sqrt(2 * 64)

# An estimate is more than twice the true distance with a probability below 1e-6, for differences
# that do not depend on the formula. Few equal elements in one bucket are the worst case: five of
# five, or of six, collide with equal signs with a probability below 4e-7. For a difference that is
# spread over many elements the probability is below 1e-10.
SLACK: Final = 2.0


@dataclass(frozen=True, slots=True)
class ContentSketch:
    """The numbers from which distances are estimated.

    `direction` is the sketch of the elements divided by their norm, so float32 holds it.
    """

    virtual_tokens: int
    norm: float
    direction: Sequence[float]


def content_sketch(scan: TensorScan, virtual_tokens: int) -> ContentSketch:
    """Return the sketch of finite elements that are not all zero."""
    length = norm(scan)
    return ContentSketch(virtual_tokens, length, tuple(each / length for each in scan.sketch))


def relative_distance(a: ContentSketch, b: ContentSketch) -> float:
    """Estimate the L2 norm of the difference, divided by the larger norm of the two contents.

    The difference of the norms is exact; only the part that the directions add is estimated, with
    `STANDARD_ERROR`. Contents of different numbers of virtual tokens are infinitely distant.
    """
    return _distance(a, b, slack=1)


def are_near(a: ContentSketch, b: ContentSketch, within: float) -> bool:
    """Return whether two contents may be within a relative distance of each other.

    True for every pair within that distance, with a probability of 1 - 1e-6. In turn it is also
    true for some pairs at up to about three times that distance.
    """
    return _distance(a, b, slack=SLACK) <= within


def norm_bounds(norm: float, within: float) -> tuple[float, float]:
    """Return the least and the largest norm of a content that is near one with `norm`."""
    return norm * (1 - within), norm / (1 - within)


def widest_direction(within: float) -> float:
    """Return the largest difference of the directions of two contents that are near."""
    return SLACK * within / math.sqrt(1 - within)


def _distance(a: ContentSketch, b: ContentSketch, *, slack: float) -> float:
    if a.virtual_tokens != b.virtual_tokens:
        return math.inf
    # |a - b|² = (|a| - |b|)² + |a| |b| |a/|a| - b/|b||², divided by the square of the larger norm.
    larger = max(a.norm, b.norm)
    ratio = min(a.norm, b.norm) / larger
    angular = math.dist(a.direction, b.direction) / slack
    return math.hypot(1 - ratio, math.sqrt(ratio) * angular)
