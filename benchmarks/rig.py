"""What every benchmark stands on: a registry of its own, a base model, files of any size."""

import hashlib
import json
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.client import Registry, accepted
from demo.server import starting_registry

MIB = 1 << 20
LAYERS, KV_HEADS, HEAD_DIM = 32, 8, 128  # the geometry of an 8-billion-parameter Llama
COLUMNS = LAYERS * 2 * KV_HEADS * HEAD_DIM
ROW_BYTES = COLUMNS * 4
PREFIX = "bench/prefix"
BASE = f"sha256:{hashlib.sha256(b'base').hexdigest()}"


@contextmanager
def registry() -> Iterator[Registry]:
    """Run a local registry with a base model and an empty prefix; yield a client for it."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        Path(folder).chmod(0o711)  # PostgreSQL's unprivileged user passes through
        with starting_registry(data) as starting:
            client = starting.ready(timeout_s=60)
            architecture = {
                "model_type": "llama",
                "layers": LAYERS,
                "attention_heads": 32,
                "kv_heads": KV_HEADS,
                "head_dim": HEAD_DIM,
                "hidden_size": 4096,
            }
            base = {"name": "base", "digest": BASE, "parameters": 8_000_000_000}
            body = base | {"architecture": architecture}
            accepted(client.call("POST", "/v1/base-models", by="publisher", json=body))
            namespace, _, name = PREFIX.partition("/")
            prefix = {"namespace": namespace, "name": name, "owner": "admin"}
            accepted(client.call("POST", "/v1/prefixes", by="publisher", json=prefix))
            yield client


@dataclass(frozen=True, slots=True)
class Artifact:
    """The two files of a prefix; `weights` lies on disk."""

    config: bytes
    weights: Path
    size_bytes: int


def an_artifact(folder: Path, size_mb: float, seed: int) -> Artifact:
    """Write a prefix of about `size_mb` million bytes, different for each seed."""
    rows = max(round(size_mb * 1e6 / ROW_BYTES), 1)
    entry = {"dtype": "F32", "shape": [rows, COLUMNS], "data_offsets": [0, rows * ROW_BYTES]}
    header = json.dumps({"prompt_embeddings": entry}).encode()
    path = folder / f"weights-{size_mb:g}-{seed}"
    row = struct.pack("<f", 1.0 + seed / 1000) * COLUMNS
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _ in range(rows):
            file.write(row)
    return Artifact(_config(rows), path, path.stat().st_size)


def _config(rows: int) -> bytes:
    document = {
        "peft_type": "PREFIX_TUNING",
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": rows,
        "num_layers": LAYERS,
        "num_attention_heads": KV_HEADS,
        "token_dim": KV_HEADS * HEAD_DIM,
        "base_model_name_or_path": "base",
    }
    return json.dumps(document).encode()


def interleaved(
    rounds: int, timed: Mapping[str, Callable[[int], object]]
) -> dict[str, list[float]]:
    """Run every function once a round, in turn; return the seconds that each took.

    In turn, so that whatever else the machine does falls on all of them alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(rounds):
        for name, run in timed.items():
            start = time.perf_counter()
            run(number)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(reference: list[float], measured: list[float]) -> float:
    """Return how fast `measured` is beside `reference`: 1 is as fast, 0.5 half as fast."""
    return statistics.median(reference) / statistics.median(measured)
