"""Verify an export of the audit log, offline, with Python's standard library alone.

    python verify_audit.py export.jsonl
    python verify_audit.py export.jsonl --key KEY --checkpoint kept.note [--checkpoint newer.note]
    python verify_audit.py chain.jsonl --key KEY --checkpoint kept.note --inclusion proof.json
    python verify_audit.py --key KEY --checkpoint kept.note --checkpoint newer.note \
        --consistency proof.json

The first command recomputes every chain. The second also proves that an export of all chains still
contains, unchanged, every entry that the checkpoints cover. The third proves the same for one
chain, and the last for two checkpoints without an export. Exit status: 0 if everything verifies,
1 with a message on the first break, 2 if a file cannot be read or the options are inconsistent.
"""

import argparse
import base64
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

GENESIS: Final = f"sha256:{'0' * 64}"
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
LARGEST_INTEGER: Final = 2**53 - 1
ED25519: Final = 1  # the key type's number in signed notes
KEY_BYTES: Final = 32
LEAF_MEMBERS: Final = {"index", "subject", "length", "head"}
ENTRY_MEMBERS: Final = {
    *("subject", "sequence", "at", "principal", "principal_id", "action", "facts"),
    *("previous", "hash"),
}


class BreakError(Exception):
    """An entry or checkpoint differs from its sealed or signed form; the message is a sentence."""


class UsageError(Exception):
    """The input cannot be verified at all; the message is a sentence."""


# JSON and its canonical form (RFC 8785); entries contain no fractions


def parsed(line: bytes, where: str) -> dict[str, Any]:
    """Read an object strictly: repeated members and fractions are breaks."""
    try:
        value = json.loads(
            line.decode("utf-8"),
            object_pairs_hook=_members,
            parse_float=_no_fraction,
            parse_constant=_no_fraction,
        )
    except (ValueError, RecursionError) as error:
        raise BreakError(f"{where} is not valid JSON of the log: {error}.") from error
    if not isinstance(value, dict):
        raise BreakError(f"{where} is not a JSON object.")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is repeated")
    return members


def _no_fraction(text: str) -> None:
    raise ValueError(f"{text} is not an integer")


def canonical(value: object) -> bytes:
    """Return the canonical form of a result of `parsed`.

    Raises:
        ValueError: It has none: half a surrogate pair, or an integer beyond 2**53.
    """
    return json.dumps(_sorted(value), ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        # RFC 8785 orders by UTF-16 code units; Python compares code points.
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return {key: _sorted(value[key]) for key in keys}
    if isinstance(value, list):
        return [_sorted(each) for each in value]
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise ValueError(f"{value} is beyond 2**53")
    return value


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


# The chains


@dataclass
class Export:
    """The state of reading an export; `roots` has the tree's root at each of `sizes`."""

    sizes: frozenset[int] = frozenset()
    ends: dict[str, tuple[int, str]] = field(default_factory=dict)
    entries: int = 0
    leaves: int = 0
    roots: dict[int, bytes] = field(default_factory=dict)
    covered: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    _edge: list[tuple[int, bytes]] = field(default_factory=list)

    def read(self, lines: Iterable[bytes]) -> None:
        """Read all lines, leaves before entries.

        Raises:
            BreakError: The first break.
        """
        self._keep_root()
        for number, line in enumerate(lines, start=1):
            document = parsed(line, f"Line {number}")
            if document.keys() == LEAF_MEMBERS and not self.entries:
                self.add_leaf(document)
            elif document.keys() == ENTRY_MEMBERS and isinstance(document["subject"], str):
                self.add_entry(document, number)
            else:
                raise BreakError(f"Line {number} is neither an entry nor a leaf in its place.")
        for (subject, length), (_, by) in sorted(self.covered.items()):
            found = self.ends.get(subject, (0, ""))[0]
            state = f"the chain ends at {found}" if found else "the whole chain is missing"
            raise BreakError(
                f"{subject}: entry {length} is missing, although {by} covers it: {state}."
            )

    def add_leaf(self, leaf: dict[str, Any]) -> None:
        index = leaf.pop("index")
        if index != self.leaves:
            raise BreakError(f"Leaf {index} appears where leaf {self.leaves} was expected.")
        self.cover(leaf, f"leaf {index}")
        hash_ = leaf_hash(leaf)
        level = 0
        while self._edge and self._edge[-1][0] == level:
            hash_ = node_hash(self._edge.pop()[1], hash_)
            level += 1
        self._edge.append((level, hash_))
        self.leaves += 1
        self._keep_root()

    def cover(self, leaf: Mapping[str, Any], by: str) -> None:
        """Require the entry that `leaf` names in its chain."""
        subject, length, head = leaf["subject"], leaf["length"], leaf["head"]
        if not isinstance(subject, str) or not isinstance(length, int):
            raise BreakError(f"{by} does not name an entry.")
        known, first = self.covered.setdefault((subject, length), (head, by))
        if known != head:
            raise BreakError(f"{subject}: {first} and {by} disagree on entry {length}.")

    def add_entry(self, entry: dict[str, Any], line: int) -> None:
        subject, sequence, hash_ = entry["subject"], entry["sequence"], entry.pop("hash")
        length, head = self.ends.get(subject, (0, GENESIS))
        if sequence != length + 1 or isinstance(sequence, bool):
            raise BreakError(
                f"{subject}: entry {sequence} appears where entry {length + 1} was expected "
                f"(line {line}): entries were removed, repeated or reordered."
            )
        named = f"{subject}: entry {sequence}"
        if entry["previous"] != head:
            raise BreakError(f"{named} does not follow the entry before it (line {line}).")
        if sha256(sealed_bytes(entry, named)) != hash_:
            raise BreakError(f"{named} is not what was sealed: its hash differs (line {line}).")
        signed, by = self.covered.pop((subject, sequence), (hash_, ""))
        if signed != hash_:
            raise BreakError(
                f"{named} or an earlier one was rewritten: {by} covers it with another hash "
                f"(line {line})."
            )
        self.ends[subject] = (sequence, hash_)
        self.entries += 1

    def _keep_root(self) -> None:
        if self.leaves in self.sizes:
            hashes = [hash_ for _, hash_ in self._edge]
            root = hashes.pop() if hashes else EMPTY_ROOT
            while hashes:
                root = node_hash(hashes.pop(), root)
            self.roots[self.leaves] = root


def sealed_bytes(document: Mapping[str, Any], named: str) -> bytes:
    try:
        return canonical(document)
    except (ValueError, RecursionError) as error:
        raise BreakError(f"{named} has a value that the log cannot contain: {error}.") from error


# Merkle trees (RFC 9162)


def leaf_hash(leaf: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(b"\x00" + sealed_bytes(leaf, "A leaf")).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that `path` leads to (section 2.1.3.2), None for an invalid path."""
    roots = _climbed(index, size - 1, leaf, path) if 0 <= index < size else None
    return roots and roots[1]


def roots_of_consistency(
    first: int, second: int, first_root: bytes, path: Sequence[bytes]
) -> tuple[bytes, bytes] | None:
    """Return both roots that `path` leads to (section 2.1.4.2), None for an invalid path."""
    start, *rest = path if first & (first - 1) else [first_root, *path]
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    return _climbed(node, last, start, rest)


def _climbed(
    node: int, last: int, start: bytes, path: Sequence[bytes]
) -> tuple[bytes, bytes] | None:
    """Climb from a node; return the root of the leaves up to it, and the root of all leaves."""
    old = new = start
    for sibling in path:
        if last == 0:
            return None
        right = node & 1 or node == last
        old = node_hash(sibling, old) if right else old
        new = node_hash(sibling, new) if right else node_hash(new, sibling)
        while right and node and not node & 1:
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    return (old, new) if last == 0 else None


# Ed25519 (RFC 8032, section 5.1): points as (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z

Point = tuple[int, int, int, int]

P: Final = 2**255 - 19
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
D: Final = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE: Final = pow(2, (P - 1) // 4, P)
NEUTRAL: Final[Point] = (0, 1, 1, 0)


def _sum(a: Point, b: Point) -> Point:
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    g = 2 * a[3] * b[3] * D % P
    h = 2 * a[2] * b[2] % P
    return (
        (f - e) * (h - g) % P,
        (h + g) * (f + e) % P,
        (h - g) * (h + g) % P,
        (f - e) * (f + e) % P,
    )


def _multiple(factor: int, point: Point) -> Point:
    total = NEUTRAL
    while factor:
        if factor & 1:
            total = _sum(total, point)
        point, factor = _sum(point, point), factor >> 1
    return total


def _point(data: bytes) -> Point | None:
    """Decode a point of 32 bytes (section 5.1.3); None if they encode none."""
    number = int.from_bytes(data, "little")
    y, odd = number & (2**255 - 1), number >> 255
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_ONE % P
    if x * x % P != square or (x == 0 and odd):
        return None
    if x & 1 != odd:
        x = P - x
    return x, y, 1, x * y % P


def signature_holds(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is the key's signature of `message` (section 5.1.7)."""
    if (len(public_key), len(signature)) != (KEY_BYTES, 2 * KEY_BYTES):
        return False
    key, commitment = _point(public_key), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    base = _point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    if key is None or commitment is None or base is None or scalar >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    left = _multiple(scalar, base)
    right = _sum(commitment, _multiple(int.from_bytes(digest, "little") % ORDER, key))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))


# Checkpoints: C2SP signed notes


class Checkpoint(NamedTuple):
    name: str
    size: int
    root: bytes


def verifier_key(text: str) -> tuple[tuple[str, bytes], bytes]:
    """Return name, id and public key of a verifier key `<name>+<id>+<key>`."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        material = base64.b64decode(encoded, validate=True)
    except ValueError:
        material = b""
    computed = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
    if len(material) != 1 + KEY_BYTES or material[0] != ED25519 or computed.hex() != key_id:
        raise UsageError(f"{text!r} is not an Ed25519 key of the form <name>+<id>+<key>.")
    return (name, computed), material[1:]


def opened(note: bytes, keys: Mapping[tuple[str, bytes], bytes]) -> tuple[str, str]:
    """Return the name of a known key that signed the note, and the note's text."""
    text, _, signatures = note.decode("utf-8").rpartition("\n\n")
    text += "\n"
    for line in signatures.split("\n"):
        found = re.fullmatch("\N{EM DASH} (\\S+) ([A-Za-z0-9+/]+=*)", line)
        if found is None:
            continue
        signature = base64.b64decode(found[2])
        key = keys.get((found[1], signature[:4]))
        if key is None:
            continue
        if not signature_holds(key, text.encode(), signature[4:]):
            raise ValueError(f"the signature by {found[1]} does not hold")
        return found[1], text
    raise ValueError("none of the given keys has signed it")


def checkpoint_from(file: Path, keys: Mapping[tuple[str, bytes], bytes]) -> Checkpoint:
    try:
        name, text = opened(file.read_bytes(), keys)
    except ValueError as error:
        raise BreakError(f"{file} cannot be trusted: {error}.") from error
    found = re.match("(.+)\n(0|[1-9][0-9]*)\n([A-Za-z0-9+/]{43}=)\n", text)
    if found is None or found[1] != name:
        raise BreakError(f"{file} is signed, but is not a checkpoint of {name}.")
    return Checkpoint(str(file), int(found[2]), base64.b64decode(found[3]))


# Checks


def require_covered(export: Export, each: Checkpoint) -> str:
    root = export.roots.get(each.size)
    if root is None:
        raise BreakError(
            f"{each.name} covers {each.size} leaves, but the export has {export.leaves}: "
            "leaves were removed, or the export does not contain all chains."
        )
    if root != each.root:
        raise BreakError(
            f"{each.name} was signed for other leaves than the first {each.size} of the export: "
            "chains that it covers were removed or rewritten."
        )
    return f"Nothing that {each.name} covers was removed or changed."


def require_included(proof: Mapping[str, Any], checkpoint: Checkpoint) -> Mapping[str, Any]:
    """Return the leaf, once the proof shows that the checkpoint covers it."""
    leaf: dict[str, Any] = proof["leaf"]
    hash_, path = leaf_hash(leaf), _path(proof)
    if root_of_inclusion(hash_, proof["index"], checkpoint.size, path) != checkpoint.root:
        raise BreakError(f"The proof of inclusion does not lead to the root of {checkpoint.name}.")
    return leaf


def require_consistent(proof: Mapping[str, Any], older: Checkpoint, newer: Checkpoint) -> str:
    holds = older.size == 0 or older == newer._replace(name=older.name)
    if 0 < older.size < newer.size:
        roots = roots_of_consistency(older.size, newer.size, older.root, _path(proof))
        holds = roots == (older.root, newer.root)
    if not holds:
        raise BreakError(
            f"The proof does not show that {newer.name} extends {older.name}: entries that the "
            "older one covers may have been removed or rewritten."
        )
    return f"{newer.name} extends {older.name}: nothing that it covers was removed or changed."


def _path(proof: Mapping[str, Any]) -> list[bytes]:
    return [bytes.fromhex(digest.removeprefix("sha256:")) for digest in proof["path"]]


def verify(options: argparse.Namespace) -> list[str]:
    """Run the checks that the options select; return the confirmed statements."""
    keys = dict(map(verifier_key, options.key))
    checkpoints = [checkpoint_from(file, keys) for file in options.checkpoint]
    confirmed = []
    if options.consistency:
        older, newer = checkpoints
        confirmed.append(require_consistent(_proof(options.consistency), older, newer))
    if options.export:
        export = Export(frozenset(each.size for each in checkpoints))
        if options.inclusion:
            leaf = require_included(_proof(options.inclusion), checkpoints[0])
            export.cover(leaf, checkpoints[0].name)
            confirmed.append(
                f"{checkpoints[0].name} covers {leaf['subject']} up to entry {leaf['length']}."
            )
        with options.export.open("rb") as lines:
            export.read(lines)
        confirmed.append(f"{export.entries} entries in {len(export.ends)} chains are as sealed.")
        if not options.inclusion:
            confirmed += [require_covered(export, each) for each in checkpoints]
    return confirmed


def _proof(file: Path) -> dict[str, Any]:
    return parsed(file.read_bytes(), str(file))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="verify_audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("export", type=Path, nargs="?", help="JSON Lines of GET /v1/audit/export")
    add = parser.add_argument
    add("--key", action="append", default=[], help="verifier key of the log; repeatable")
    add(
        "--checkpoint",
        type=Path,
        action="append",
        default=[],
        help="signed checkpoint; repeatable",
    )
    add("--inclusion", type=Path, help="response of GET /v1/audit/proofs/inclusion")
    add("--consistency", type=Path, help="response of GET /v1/audit/proofs/consistency")
    options = parser.parse_args(arguments)
    if not (options.export or options.consistency):
        parser.error("give an export, or two checkpoints and --consistency")
    if options.checkpoint and not options.key:
        parser.error("--checkpoint needs --key to verify its signature")
    if options.consistency and len(options.checkpoint) != 2:  # noqa: PLR2004
        parser.error("--consistency needs two checkpoints, the older one first")
    if options.inclusion and not (options.export and len(options.checkpoint) == 1):
        parser.error("--inclusion needs the export of the chain and one checkpoint")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        print("\n".join(verify(options)))
    except BreakError as broken:
        print(f"BROKEN: {broken}")
        return 1
    except (OSError, UsageError) as error:
        print(f"verify_audit: {error}", file=sys.stderr)
        return 2
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        print(f"BROKEN: a proof does not have the form that the log issues ({error!r}).")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
