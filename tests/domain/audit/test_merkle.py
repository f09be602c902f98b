"""Merkle trees: the published vectors, and proofs that hold for true statements only."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.audit.merkle import (
    EMPTY_ROOT,
    Span,
    complete_subtrees,
    consistency_path,
    growth,
    hash_of,
    inclusion_path,
    leaf_hash,
)
from tests.support.merkle_proofs import proves_consistency, proves_inclusion

# The reference vectors of Certificate Transparency (RFC 6962), which its implementations share.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
SIZES = st.integers(1, 130)


def naive_root(hashes):
    """Return the root by the definition in RFC 6962, section 2.1, literally and slowly."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    left = 1
    while left * 2 < len(hashes):
        left *= 2
    parts = naive_root(hashes[:left]) + naive_root(hashes[left:])
    return hashlib.sha256(b"\x01" + parts).digest()


def hashes_of(count):
    return [leaf_hash(str(number).encode()) for number in range(count)]


def nodes_of(hashes):
    return dict(growth(0, {}, hashes))


def hashed(spans, nodes):
    return [hash_of(span, nodes) for span in spans]


def flipped(data, bit):
    at = bit % (len(data) * 8)
    changed = bytearray(data)
    changed[at // 8] ^= 1 << (at % 8)
    return bytes(changed)


def wrong_paths(path, bit):
    """Yield paths that differ from `path`: a bit in each hash, one missing, one too many."""
    for place in range(len(path)):
        yield [*path[:place], flipped(path[place], bit), *path[place + 1 :]]
        yield [*path[:place], *path[place + 1 :]]
    yield [*path, EMPTY_ROOT]


# The published vectors


def test_the_published_roots_are_reproduced():
    nodes = nodes_of(map(leaf_hash, LEAVES))
    assert [hash_of(Span(0, size), nodes) for size in range(9)] == ROOTS


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_the_published_inclusion_paths_are_reproduced(index, size):
    expected = list(map(bytes.fromhex, INCLUSION[index, size]))
    nodes = nodes_of(map(leaf_hash, LEAVES))
    assert hashed(inclusion_path(index, size), nodes) == expected
    leaf = leaf_hash(LEAVES[index])
    assert proves_inclusion(leaf, index=index, size=size, path=expected, root=ROOTS[size])


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_the_published_consistency_paths_are_reproduced(first, second):
    expected = list(map(bytes.fromhex, CONSISTENCY[first, second]))
    nodes = nodes_of(map(leaf_hash, LEAVES))
    assert hashed(consistency_path(first, second), nodes) == expected
    assert proves_consistency(
        first=first,
        second=second,
        first_root=ROOTS[first],
        second_root=ROOTS[second],
        path=expected,
    )


# Any tree


@given(SIZES)
def test_every_root_is_that_of_the_definition(size):
    hashes = hashes_of(size)
    assert hash_of(Span(0, size), nodes_of(hashes)) == naive_root(hashes)


@given(st.integers(0, 70), st.integers(0, 70))
def test_growing_in_two_steps_gives_the_same_tree_as_in_one(first, more):
    hashes = hashes_of(first + more)
    all_nodes = nodes_of(hashes)
    edge = {each: all_nodes[each] for each in complete_subtrees(Span(0, first))}
    later = dict(growth(first, edge, hashes[first:]))
    assert nodes_of(hashes[:first]) | later == all_nodes


@given(SIZES, st.data())
def test_a_proof_holds_for_a_leaf_at_its_own_index_only(size, data):
    hashes = hashes_of(size)
    index = data.draw(st.integers(0, size - 1))
    bit = data.draw(st.integers(0, 255))
    nodes, root = nodes_of(hashes), naive_root(hashes)
    path = hashed(inclusion_path(index, size), nodes)
    claim = {"index": index, "size": size, "path": path, "root": root}

    assert proves_inclusion(hashes[index], **claim)

    assert len(path) <= (size - 1).bit_length()
    assert not proves_inclusion(flipped(hashes[index], bit), **claim)
    assert not proves_inclusion(hashes[index], **claim | {"root": flipped(root, bit)})
    for other in {*range(-1, size + 1)} - {index}:
        assert not proves_inclusion(hashes[index], **claim | {"index": other})
    for wrong in wrong_paths(path, bit):
        assert not proves_inclusion(hashes[index], **claim | {"path": wrong})


@given(SIZES, st.data())
def test_a_proof_holds_for_the_older_and_the_newer_tree_only(second, data):
    hashes = hashes_of(second)
    first = data.draw(st.integers(1, second))
    bit = data.draw(st.integers(0, 255))
    path = hashed(consistency_path(first, second), nodes_of(hashes))
    claim = {
        "first": first,
        "second": second,
        "first_root": naive_root(hashes[:first]),
        "second_root": naive_root(hashes),
        "path": path,
    }

    assert proves_consistency(**claim)

    assert len(path) <= second.bit_length() + 1
    for root in ("first_root", "second_root"):
        assert not proves_consistency(**claim | {root: flipped(claim[root], bit)})
    for wrong in wrong_paths(path, bit):
        assert not proves_consistency(**claim | {"path": wrong})
    assert not proves_consistency(**claim | {"second": first - 1})
    assert not proves_consistency(**claim | {"first": 0})


@given(st.integers(1, 2**40), st.data())
def test_a_proof_in_a_vast_tree_reads_few_nodes(size, data):
    index = data.draw(st.integers(0, size - 1))
    first = data.draw(st.integers(1, size))
    for path in (inclusion_path(index, size), consistency_path(first, size)):
        read = [node for span in path for node in complete_subtrees(span)]
        assert len(read) <= 2 * size.bit_length()


@pytest.mark.parametrize(("index", "size"), [(-1, 8), (8, 8), (0, 0)])
def test_a_missing_leaf_has_no_path(index, size):
    with pytest.raises(ValueError, match="has no leaf"):
        inclusion_path(index, size)


@pytest.mark.parametrize(("first", "second"), [(0, 8), (9, 8), (-1, 2)])
def test_trees_in_the_wrong_order_have_no_path(first, second):
    with pytest.raises(ValueError, match="does not start with"):
        consistency_path(first, second)
