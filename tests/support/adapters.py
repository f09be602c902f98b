"""Builders of prefix files, valid or with exact defects."""

import hashlib
import json
import struct
from collections.abc import Mapping

import torch  # noqa: TID251  # the reference for app/storage/tensors.py
from safetensors.torch import save

from app.domain.artifacts.geometry import Geometry

TOKENS = 3
LLAMA = Geometry(
    model_type="llama",
    layers=4,
    attention_heads=4,
    kv_heads=2,
    head_dim=8,
    hidden_size=32,
    context_window=2048,
)
_CONFIG = {
    "base_model_name_or_path": "tiny/llama",
    "inference_mode": True,
    "num_attention_heads": 2,
    "num_layers": 4,
    "num_transformer_submodules": 1,
    "num_virtual_tokens": TOKENS,
    "peft_type": "PREFIX_TUNING",
    "peft_version": "0.21.2",
    "prefix_projection": False,
    "revision": None,
    "task_type": "CAUSAL_LM",
    "token_dim": 16,
}


def a_config(*, without: tuple[str, ...] = (), **changes: object) -> bytes:
    """Return the configuration of a prefix for `LLAMA`, with changes."""
    document = _CONFIG | changes
    return json.dumps({k: v for k, v in document.items() if k not in without}).encode()


def a_tensor(
    rows: int = TOKENS, columns: int = LLAMA.columns, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Return the numbers from 1 upwards, so that neighbouring elements differ."""
    return torch.arange(1, rows * columns + 1).reshape(rows, columns).to(dtype)


def a_random_tensor(name: str) -> torch.Tensor:
    """Return normal numbers that depend on the name only."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(TOKENS, LLAMA.columns, generator=generator)


def a_weights_file(**tensors: torch.Tensor) -> bytes:
    """Return a safetensors file of a prefix for `LLAMA`, or of the tensors given."""
    return save(tensors or {"prompt_embeddings": a_tensor()}, {"format": "pt"})


def a_raw_file(header: bytes | Mapping[str, object], data: bytes = b"") -> bytes:
    """Return a file with this header, valid or not, and this data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def an_entry(**changes: object) -> dict[str, object]:
    """Return a header's entry for one float, with changes."""
    return {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | changes
