"""Prefixes of any size, and the form that pushes them."""

import itertools
import json
import struct
from dataclasses import dataclass
from typing import Final

LAYERS: Final = 32  # the geometry of an 8-billion-parameter Llama
KV_HEADS: Final = 8
HEAD_DIM: Final = 128
ARCHITECTURE: Final = {
    "model_type": "llama",
    "layers": LAYERS,
    "attention_heads": 32,
    "kv_heads": KV_HEADS,
    "head_dim": HEAD_DIM,
    "hidden_size": 4096,
}
BOUNDARY: Final = "a-boundary-that-no-part-contains"

_COLUMNS: Final = LAYERS * 2 * KV_HEADS * HEAD_DIM
_ROW_BYTES: Final = _COLUMNS * 4
_seeds = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Artifact:
    """The two files of a prefix."""

    config: bytes
    weights: bytes


def an_artifact(size_mb: float) -> Artifact:
    """Return a prefix of about `size_mb` million bytes, unique in this run."""
    rows = max(round(size_mb * 1e6 / _ROW_BYTES), 1)
    entry = {"dtype": "F32", "shape": [rows, _COLUMNS], "data_offsets": [0, rows * _ROW_BYTES]}
    header = json.dumps({"prompt_embeddings": entry}).encode()
    numbers = struct.pack("<f", 1.0 + next(_seeds) / 1000) * (_COLUMNS * rows)
    config = {
        "peft_type": "PREFIX_TUNING",
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": rows,
        "num_layers": LAYERS,
        "num_attention_heads": KV_HEADS,
        "token_dim": KV_HEADS * HEAD_DIM,
        "base_model_name_or_path": "base",
    }
    weights = struct.pack("<Q", len(header)) + header + numbers
    return Artifact(json.dumps(config).encode(), weights)


def multipart(parts: dict[str, bytes]) -> bytes:
    """Return the parts as one body of `multipart/form-data`."""
    pieces = []
    for name, content in parts.items():
        disposition = f'form-data; name="{name}"; filename="{name}"'
        head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n"
        pieces += [head.encode(), content, b"\r\n"]
    return b"".join([*pieces, f"--{BOUNDARY}--\r\n".encode()])
