"""The digest that names a base model by the content of its weights."""

import re
from collections.abc import Mapping

from app.domain.naming import sha256_digest

# sha256sum escapes these in a name, and marks the line with a backslash.
_ESCAPES = {"\\": r"\\", "\n": r"\n", "\r": r"\r"}


def weights_digest(files: Mapping[str, str]) -> str:
    """Return the digest of a base model from the digests of its weight files.

    The command `sha256sum *.safetensors | LC_ALL=C sort -k2 | sha256sum` prints the same digest in
    the model's folder, so anyone can verify it without the registry.

    Args:
        files: SHA-256 in hex by file name, as the functions of the operating system return names.
    """
    lines = sorted(_line(name, sha256) for name, sha256 in files.items())
    return sha256_digest(b"".join(line for _, line in lines))


def _line(name: str, sha256: str) -> tuple[bytes, bytes]:
    """Return the field by which sha256sum's line is sorted, and the line."""
    escaped = re.sub(r"[\\\n\r]", lambda found: _ESCAPES[found[0]], name)
    mark = "" if escaped == name else "\\"
    field = f"  {escaped}".encode("utf-8", "surrogateescape")
    return field, f"{mark}{sha256}".encode() + field + b"\n"
