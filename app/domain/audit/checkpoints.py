"""Checkpoints of the audit log: the leaves of its tree, and the signed note over its root.

The note is a C2SP tlog-checkpoint (https://c2sp.org/tlog-checkpoint) in a C2SP signed note.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final, Protocol

import rfc8785

from app.domain.audit.merkle import leaf_hash
from app.domain.naming import Json

ORIGIN_PATTERN: Final = r"^[^\s+\x00-\x1f]{1,256}$"

_ED25519: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class Leaf:
    """The end of one chain at a checkpoint: its length, and its last entry's hash.

    An entry contains the hash of the previous one, so a leaf covers all entries up to that end.
    """

    subject: str
    length: int
    head: str

    def document(self) -> dict[str, Json]:
        return {"subject": self.subject, "length": self.length, "head": self.head}

    def hashed(self) -> bytes:
        """Return the leaf's hash in the tree, over its canonical JSON (RFC 8785)."""
        return leaf_hash(rfc8785.dumps(self.document()))


class Signer(Protocol):
    """An Ed25519 key, and the origin in whose name it signs."""

    @property
    def origin(self) -> str: ...

    @property
    def public_key(self) -> bytes: ...

    def sign(self, text: bytes) -> bytes: ...


def is_origin(text: str) -> bool:
    """Return whether `text` can name a log: no spaces, plus signs or control characters."""
    return re.fullmatch(ORIGIN_PATTERN, text) is not None


def verifier_key(signer: Signer) -> str:
    """Return the public key in the format for verifiers of signed notes: `<name>+<id>+<key>`."""
    key = base64.b64encode(_ED25519 + signer.public_key).decode()
    return f"{signer.origin}+{_key_id(signer).hex()}+{key}"


def signed_checkpoint(size: int, root: bytes, signer: Signer) -> str:
    """Return the signed note of a log with `size` leaves and the root hash `root`."""
    text = f"{signer.origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    return signed_note(text, signer)


def signed_note(text: str, signer: Signer) -> str:
    """Return `text`, which ends with a line break, followed by the signer's signature line."""
    signature = base64.b64encode(_key_id(signer) + signer.sign(text.encode())).decode()
    return f"{text}\n\N{EM DASH} {signer.origin} {signature}\n"


def is_signed_by(signer: Signer, note: str) -> bool:
    """Return whether a note names the signer's key; the signature is not verified."""
    _, name, signature = note.rstrip("\n").rpartition("\n")[2].split(" ")
    return (name, base64.b64decode(signature)[:4]) == (signer.origin, _key_id(signer))


def digest_of(hashed: bytes) -> str:
    """Return a node's hash in the API's notation for digests."""
    return f"sha256:{hashed.hex()}"


def _key_id(signer: Signer) -> bytes:
    named = signer.origin.encode() + b"\n" + _ED25519 + signer.public_key
    return hashlib.sha256(named).digest()[:4]
