"""Rows of JSON Lines files: parsing one strictly, and the 64-bit names of its sample."""

import hashlib
import json
import re
from typing import Final

from app.domain.errors import Fault
from app.domain.strict_json import NotStrictJsonError, unique

LINE_LIMIT_BYTES: Final = 64 * 1024
FAULT_LIMIT: Final = 20
_KEY_BYTES: Final = 8
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# One decoder for all rows: json.loads would create one for each.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=unique)


def parsed_row(line: bytes) -> tuple[dict[str, object] | None, Fault | None]:
    """Return the object in a line, or the reason why there is none."""
    if len(line) > LINE_LIMIT_BYTES:
        return None, Fault("too-long", f"It has more than {LINE_LIMIT_BYTES} bytes.")
    try:
        row = _DECODER.decode(line.decode("utf-8"))
    except NotStrictJsonError as error:
        return None, Fault(error.problem.value, f"In it {error}.")
    except (ValueError, RecursionError):
        return None, Fault("not-json", "It is not JSON in UTF-8.")
    if not isinstance(row, dict):
        return None, Fault("not-json", "It is not a JSON object.")
    return row, None


def is_sha256(value: object) -> bool:
    """Return whether a value is a SHA-256 of 64 hexadecimal digits in lower case."""
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def sample_key(identity: str, prompt: str) -> int:
    """Return the name of a sample; two samples pair where both id and prompt are equal."""
    # The length distinguishes pairs whose concatenations are equal.
    return hash64(f"{len(identity)}:{identity}{prompt}")


def prompt_cluster(prompt: str) -> int:
    """Return the name of all samples with one prompt, which are not independent."""
    return hash64(f"prompt {prompt}")


def hash64(text: str) -> int:
    """Return 64 bits of a hash; among a million samples two collide once in 37 million files."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=_KEY_BYTES).digest(), "big")
