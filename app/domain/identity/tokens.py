"""API tokens: their format, which secret scanners recognise, and the hash that is stored."""

import hashlib
import secrets
import string
import zlib
from typing import Final

_PREFIX: Final = "prg_"
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_LENGTH: Final = 36  # 36 characters of 62 hold 214 bits
_CHECKSUM_LENGTH: Final = 6  # 62**6 > 2**32


def new_token() -> str:
    """Return `prg_`, 36 random base-62 characters, and their CRC-32 in 6 base-62 characters.

    The checksum lets a secret scanner distinguish a leaked token from a look-alike offline (the
    scheme of GitHub's token format, 2021).
    """
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    return _PREFIX + secret + _checksum(secret)


def has_prefix(text: str) -> bool:
    """Return whether `text` claims to be an API token; other text may be an issuer's token."""
    return text.startswith(_PREFIX)


def is_token(text: str) -> bool:
    """Return whether `text` has a token's form and checksum, so that a lookup is worthwhile."""
    secret, checksum = text[len(_PREFIX) : -_CHECKSUM_LENGTH], text[-_CHECKSUM_LENGTH:]
    well_formed = text.startswith(_PREFIX) and len(secret) == _SECRET_LENGTH and secret.isascii()
    return well_formed and checksum == _checksum(secret)


def token_hash(token: str) -> str:
    """Return the stored hash. One SHA-256 suffices: a random token cannot be guessed offline."""
    return hashlib.sha256(token.encode()).hexdigest()


def _checksum(secret: str) -> str:
    number, digits = zlib.crc32(secret.encode("ascii")), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
