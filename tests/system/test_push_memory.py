"""The memory that a push takes, measured on the serving process."""

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.support.adapters import a_config, a_raw_file
from tests.support.builders import World, a_base_model

MIB = 1 << 20
LAYERS, KV_HEADS, HEAD_DIM = 32, 8, 128
ROW_BYTES = LAYERS * 2 * KV_HEADS * HEAD_DIM * 4


@pytest.fixture(scope="module")
def server(stores, tokens):
    """A server in a separate process on the same stores: its process id and a client."""
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
    environment = os.environ | stores.environment | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        url = process.stdout.readline().removeprefix("Serving ").strip()
        transport = httpx2.HTTPTransport(retries=5)
        with httpx2.Client(base_url=url, transport=transport, timeout=60) as client:
            yield process.pid, client
        process.terminate()


@contextmanager
def extra_memory_mib(pid):
    """Yield a list to which the process's additional peak memory is appended at the end."""
    before = resident_mib(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # starts a new peak
    measured = []
    yield measured
    measured.append(resident_mib(pid, "VmHWM") - before)


def resident_mib(pid, name):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) / 1024


def push(world, digest, rows, folder):
    """Push a prefix with `rows` virtual tokens from a file, streamed as any client does."""
    shape, size = [rows, ROW_BYTES // 4], rows * ROW_BYTES
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}
    weights = folder / "weights"
    with weights.open("wb") as file:
        file.write(a_raw_file({"prompt_embeddings": entry}))
        for _ in range(rows):
            file.write(bytes([0, 0, 128, 63]) * (ROW_BYTES // 4))  # 1.0
    config = a_config(
        num_virtual_tokens=rows,
        num_layers=LAYERS,
        num_attention_heads=KV_HEADS,
        token_dim=KV_HEADS * HEAD_DIM,
    )
    described = json.dumps({"base_model": digest})
    with weights.open("rb") as file:
        response = world.push(version=described, config=config, weights=file)
    assert response.status_code == 201, response.text


def test_pushing_64_mib_takes_less_than_32_mib_of_memory(server, tokens, tmp_path):
    pid, client = server
    world = World(client, tokens)
    architecture = {
        "model_type": "llama",
        "layers": LAYERS,
        "attention_heads": 32,
        "kv_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "hidden_size": 4096,
    }
    base = a_base_model(architecture=architecture, parameters=8_000_000_000)
    world.made("POST", "/v1/base-models", by="publisher", json=base)
    world.a_prefix()
    push(world, base["digest"], 1, tmp_path)  # the first push loads modules

    with extra_memory_mib(pid) as measured:
        push(world, base["digest"], 64 * MIB // ROW_BYTES, tmp_path)

    assert measured[0] < 32, measured
