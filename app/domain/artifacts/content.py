"""The content of a version: the digest of its numbers, to which evidence is attached."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from app.domain.artifacts.prefix import TensorScan
from app.domain.artifacts.safetensors_header import TensorEntry
from app.domain.naming import canonical_digest

_SCHEMA: Final = "prefix-registry/content/v1"


@dataclass(frozen=True, slots=True, order=True)
class TensorContent:
    """A tensor by content: `sha256` is over its elements, little-endian and in row order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str


def tensor_content(entry: TensorEntry, scan: TensorScan) -> TensorContent:
    """Return the content of a tensor whose elements have been scanned."""
    return TensorContent(entry.name, entry.dtype, tuple(entry.shape), scan.sha256)


def content_digest(tensors: Iterable[TensorContent], *, base_model: str, peft_type: str) -> str:
    """Return SHA-256 over the canonical JSON (RFC 8785) of the tensors, their base and their type.

    Configuration text, metadata and the layout of the container do not affect it: a base model
    computes the same with two prefixes of equal content. The order of `tensors` does not either.

    Args:
        tensors: All tensors of the prefix.
        base_model: The base model's digest.
        peft_type: PEFT's name of the kind of prefix.
    """
    return canonical_digest(
        {
            "schema": _SCHEMA,
            "base_model": base_model,
            "peft_type": peft_type,
            "tensors": [
                {
                    "name": tensor.name,
                    "dtype": tensor.dtype,
                    "shape": list(tensor.shape),
                    "sha256": tensor.sha256,
                }
                for tensor in sorted(tensors)
            ],
        }
    )


def norm(scan: TensorScan) -> float:
    """Return the L2 norm of all elements."""
    return math.hypot(*scan.key_norms, *scan.value_norms)
