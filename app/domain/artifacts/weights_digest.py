"""The digest that names a base model by the content of its weights."""

import re
from collections.abc import Mapping

from app.domain.naming import sha256_digest

# sha256sum escapes these in a name, and marks the line with a backslash.
_ESCAPES = {"\\": r"\\", "\n": r"\n", "\r": r"\r"}


def weights_digest(files: Mapping[str, str]) -> str:
    """Return the digest of a base model from its weight files' own.

    It is what `sha256sum *.safetensors | LC_ALL=C sort -k2 | sha256sum` prints in the model's
    folder, so anybody can check it without us.

    Args:
        files: SHA-256 in hex by file name, as the operating system's functions give names.
    """
    lines = sorted(_line(name, sha256) for name, sha256 in files.items())
    return sha256_digest(b"".join(line for _, line in lines))


def _line(name: str, sha256: str) -> tuple[bytes, bytes]:
    """Return the field that sha256sum's line is sorted by, and the line."""
    escaped = re.sub(r"[\\\n\r]", lambda found: _ESCAPES[found[0]], name)
    mark = "" if escaped == name else "\\"
    field = f"  {escaped}".encode("utf-8", "surrogateescape")
    return field, f"{mark}{sha256}".encode() + field + b"\n"
