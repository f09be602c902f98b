"""Merkle proofs, checked by the stand-alone verifier that auditors run."""

from tools.verify_audit import root_of_inclusion, roots_of_consistency


def proves_inclusion(leaf, *, index, size, path, root):
    """Return whether `path` shows that the leaf with hash `leaf` is number `index` under `root`."""
    return root_of_inclusion(leaf, index, size, path) == root


def proves_consistency(*, first, second, first_root, second_root, path):
    """Return whether `path` shows that the tree under `second_root` extends `first_root`'s.

    Equal sizes need no path. The verifier compares those itself, as it does an empty tree.
    """
    if first == second:
        return not path and first_root == second_root
    if not 0 < first < second or not path:
        return False
    return roots_of_consistency(first, second, first_root, path) == (first_root, second_root)
