"""The sketch of a prefix: 64 signed random projections of its elements, by a published formula.

The elements in row order are cut into windows: as many whole segments of `width` elements as
`WINDOW_ELEMENTS` holds, but at least one. SHAKE-128 gives every choice as one byte.

1. The element at position `p` of any window is negated if bit 0 of `element_bytes()[p]` is set.
2. Each window is folded into `COLUMNS` sums: position `p` is added to column `p % COLUMNS`.
3. The columns of window `w` are added to those of one of `GROUPS` groups: bits 0 to 5 of
   `window_bytes()[w]` are its number; the columns are subtracted if bit 6 is set.
4. Column `c` of group `g` is added to one of `BUCKETS` buckets: bits 0 to 5 of
   `column_bytes(g)[c]` are its number; the column is subtracted if bit 6 is set.

The buckets are the sketch. The formula is about values, so that a copy in another element type has
almost the same sketch. `COLUMNS` is prime: regular positions, such as one channel of all heads,
do not fall into one column.
"""

import hashlib
from typing import Final

SCHEMA: Final = "prefix-registry/sketch/v1"

WINDOW_ELEMENTS: Final = 32_744
COLUMNS: Final = 4_093
GROUPS: Final = 64
BUCKETS: Final = 64


def segments_per_window(width: int) -> int:
    return max(1, WINDOW_ELEMENTS // width)


def element_bytes(count: int) -> bytes:
    """Return a byte for each of the first `count` positions of a window."""
    return _choices("elements", count)


def window_bytes(count: int) -> bytes:
    """Return a byte for each of the first `count` windows of a prefix."""
    return _choices("windows", count)


def column_bytes(group: int) -> bytes:
    """Return a byte for each column of a group."""
    return _choices(f"group {group}", COLUMNS)


def _choices(purpose: str, count: int) -> bytes:
    return hashlib.shake_128(f"{SCHEMA} {purpose}".encode()).digest(count)
