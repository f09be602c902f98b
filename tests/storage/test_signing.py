"""The file with the key that signs checkpoints: read, or refused in one sentence."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from app.storage.signing import new_private_key_pem, signer_from


def pem(key, encryption=None):
    protection = encryption or NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_the_public_key_of_a_new_key_verifies_its_signatures(tmp_path):
    file = tmp_path / "key.pem"
    file.write_text(new_private_key_pem())
    signer = signer_from(file, origin="registry.test/audit")
    public_key = Ed25519PublicKey.from_public_bytes(signer.public_key)
    public_key.verify(signer.sign(b"text"), b"text")
    assert new_private_key_pem() not in {new_private_key_pem(), file.read_text()}


def test_a_signer_does_not_show_its_key(tmp_path):
    file = tmp_path / "key.pem"
    file.write_text(new_private_key_pem())
    assert repr(signer_from(file, origin="me")) == "KeySigner(origin='me')"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(None, "cannot be read (No such file or directory)", id="missing"),
        pytest.param(b"", "holds no private key in PEM", id="empty"),
        pytest.param(b"hunter2", "holds no private key in PEM", id="a-password"),
        pytest.param(
            pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")),
            "holds no private key in PEM without a password",
            id="encrypted",
        ),
        pytest.param(public_pem(Ed25519PrivateKey.generate()), "holds no private key", id="public"),
        pytest.param(
            pem(generate_private_key(SECP256R1())), "but not one for Ed25519", id="another-curve"
        ),
    ],
)
def test_a_file_without_a_usable_key_is_refused_without_quoting_it(tmp_path, content, reason):
    file = tmp_path / "key.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"key\.pem") as refusal:
        signer_from(file, origin="registry.test/audit")
    assert reason in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
