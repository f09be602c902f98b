"""API tokens: how they look, so that scanners recognise them, and what is stored of them."""

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

    The checksum lets a secret scanner tell a leaked token from a look-alike without asking us
    (the scheme of GitHub's token format, 2021).
    """
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    return _PREFIX + secret + _checksum(secret)


def has_prefix(text: str) -> bool:
    """Whether `text` is meant as one of our tokens; anything else may be another issuer's."""
    return text.startswith(_PREFIX)


def is_token(text: str) -> bool:
    """Whether `text` has a token's form and checksum; anything else needs no database lookup."""
    secret, checksum = text[len(_PREFIX) : -_CHECKSUM_LENGTH], text[-_CHECKSUM_LENGTH:]
    well_formed = text.startswith(_PREFIX) and len(secret) == _SECRET_LENGTH and secret.isascii()
    return well_formed and checksum == _checksum(secret)


def token_hash(token: str) -> str:
    """Return what is stored. One SHA-256 suffices: a random token cannot be guessed offline."""
    return hashlib.sha256(token.encode()).hexdigest()


def _checksum(secret: str) -> str:
    number, digits = zlib.crc32(secret.encode("ascii")), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
