"""The Ed25519 key that signs checkpoints, read once from a PEM file."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True, slots=True)
class KeySigner:
    """A private key that signs in the name of `origin`."""

    origin: str
    key: Ed25519PrivateKey = field(repr=False)

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    def sign(self, text: bytes) -> bytes:
        return self.key.sign(text)


def signer_from(file: Path, *, origin: str) -> KeySigner:
    """Return a signer with the private key in `file`, which must not be encrypted.

    Raises:
        ValueError: The file cannot be read, or holds no Ed25519 private key. The message never
            quotes the file.
    """
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{file} holds no private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        message = f"{file} holds a private key, but not one for Ed25519"
        raise ValueError(message)  # noqa: TRY004 - it is the file's content that is wrong
    return KeySigner(origin, key)


def new_private_key_pem() -> str:
    """Return a new private key as PEM."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
