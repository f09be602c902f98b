"""Merkle trees as hashed by RFC 9162 (and RFC 6962): their roots, and the paths of proofs.

A tree grows only at its right end. Its complete subtrees never change, so each is stored under
its `Coordinate`. Every root and every proof, for any size that the tree ever had, combines a
number of these subtrees that grows with the logarithm of the size.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


class Coordinate(NamedTuple):
    """A complete subtree: the one over leaves `place << level` to `(place + 1) << level`."""

    level: int
    place: int


class Span(NamedTuple):
    """The leaves that a node covers: from `start` up to, but not including, `end`."""

    start: int
    end: int


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def complete_subtrees(span: Span) -> list[Coordinate]:
    """Return the complete subtrees that a node over `span` consists of, from left to right.

    `span` starts at a multiple of a power of two that is no smaller than its length.
    """
    found, start = [], span.start
    while start < span.end:
        level = (span.end - start).bit_length() - 1
        found.append(Coordinate(level, start >> level))
        start += 1 << level
    return found


def growth(
    size: int, right_edge: Mapping[Coordinate, bytes], leaf_hashes: Iterable[bytes]
) -> Iterator[tuple[Coordinate, bytes]]:
    """Yield each complete subtree that a tree of `size` leaves gains with these leaves.

    `right_edge` holds the hashes of `complete_subtrees(Span(0, size))`.
    """
    edge = [right_edge[each] for each in complete_subtrees(Span(0, size))]
    for index, hashed in enumerate(leaf_hashes, start=size):
        level, hash_ = 0, hashed
        yield Coordinate(level, index), hash_
        while (index >> level) & 1:
            hash_ = node_hash(edge.pop(), hash_)
            level += 1
            yield Coordinate(level, index >> level), hash_
        edge.append(hash_)


def hash_of(span: Span, nodes: Mapping[Coordinate, bytes]) -> bytes:
    """Return the hash over the leaves of `span` from the hashes of its complete subtrees."""
    parts = [nodes[each] for each in complete_subtrees(span)]
    if not parts:
        return EMPTY_ROOT
    hash_ = parts.pop()
    while parts:
        hash_ = node_hash(parts.pop(), hash_)
    return hash_


def inclusion_path(index: int, size: int) -> list[Span]:
    """Return the spans whose hashes prove that leaf `index` is in the tree of `size` leaves.

    RFC 9162, section 2.1.3.1.

    Raises:
        ValueError: There is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    start, end = 0, size
    path = []
    while end - start > 1:
        middle = start + _left_leaves(end - start)
        if index < middle:
            path.append(Span(middle, end))
            end = middle
        else:
            path.append(Span(start, middle))
            start = middle
    return path[::-1]


def consistency_path(first: int, second: int) -> list[Span]:
    """Return the spans whose hashes prove that a tree of `second` leaves starts with `first`.

    RFC 9162, section 2.1.4.1.

    Raises:
        ValueError: `first` is not between 1 and `second`.
    """
    if not 1 <= first <= second:
        raise ValueError(f"a tree of {second} leaves does not start with one of {first}")
    start, end = 0, second
    path = []
    while end != first:
        middle = start + _left_leaves(end - start)
        if first <= middle:
            path.append(Span(middle, end))
            end = middle
        else:
            path.append(Span(start, middle))
            start = middle
    if start > 0:
        path.append(Span(start, end))
    return path[::-1]


def _left_leaves(count: int) -> int:
    """Return the largest power of two below `count`: the leaves of a node's left child."""
    return 1 << ((count - 1).bit_length() - 1)
