"""The digest that names a base model by the content of its weights."""

from collections.abc import Mapping

from app.domain.identity import sha256_digest


def weights_digest(files: Mapping[str, str]) -> str:
    """Return the digest of a base model from its weight files' own.

    It is what `sha256sum *.safetensors | LC_ALL=C sort -k2 | sha256sum` prints in the model's
    folder, so anybody can check it without us.

    Args:
        files: SHA-256 in hex by file name.
    """
    lines = [f"{files[name]}  {name}\n" for name in sorted(files, key=str.encode)]
    return sha256_digest("".join(lines).encode())
