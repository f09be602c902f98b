"""Checkpoints: their leaves, and notes that other implementations of signed notes accept."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.domain.audit.checkpoints import (
    Leaf,
    is_origin,
    signed_checkpoint,
    signed_note,
    verifier_key,
)
from app.storage.signing import KeySigner

# The key and the note that the tests of golang.org/x/mod/sumdb/note publish.
SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
VERIFIER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
SIGNATURE = (
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)


@pytest.fixture
def signer():
    return KeySigner("PeterNeumann", Ed25519PrivateKey.from_private_bytes(SEED))


def test_the_published_verifier_key_is_reproduced(signer):
    assert verifier_key(signer) == VERIFIER_KEY


def test_the_published_note_is_reproduced(signer):
    assert signed_note(TEXT, signer) == f"{TEXT}\n— PeterNeumann {SIGNATURE}\n"


def test_a_checkpoint_states_origin_size_and_root(signer):
    root = hashlib.sha256(b"root").digest()
    text, _, signatures = signed_checkpoint(20852163, root, signer).partition("\n\n")
    assert text.split("\n") == ["PeterNeumann", "20852163", base64.b64encode(root).decode()]
    assert signatures.startswith("— PeterNeumann x08go")


def test_a_leaf_is_hashed_over_its_canonical_json():
    head = f"sha256:{'a' * 64}"
    written = f'{{"head":"{head}","length":3,"subject":"prefix:acme/voice"}}'
    expected = hashlib.sha256(b"\x00" + written.encode()).digest()
    assert Leaf("prefix:acme/voice", 3, head).hashed() == expected


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("registry.example.com/audit", True),
        ("Übung", True),
        ("", False),
        ("two words", False),
        ("no\N{NO-BREAK SPACE}space", False),
        ("one+two", False),
        ("line\n", False),
        ("bell\x07", False),
        ("x" * 257, False),
    ],
)
def test_an_origin_can_name_a_key(text, fits):
    assert is_origin(text) is fits
