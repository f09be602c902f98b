"""Registers the base model by its digest, and pushes prefixes that were trained for it."""

import hashlib
import json
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from demo import show
from demo.client import Document, Registry, accepted, expect
from demo.language import Prompt, Voice
from demo.server import PROGRAM
from demo.train import Base, Trained

PREFIX: Final = "acme/brand-voice"
PATH: Final = f"/v1/prefixes/{PREFIX}"
CONFIG_FILE: Final = "adapter_config.json"
WEIGHTS_FILE: Final = "adapter_model.safetensors"

_COREUTILS: Final = "sha256sum *.safetensors | LC_ALL=C sort -k2 | sha256sum"


def register_base(registry: Registry, base: Base) -> str:
    """Register the base model; return its digest."""
    digest = _output([PROGRAM, "base-digest", str(base.folder)])
    show.say(f"prefix-registry base-digest: {digest}")
    recipe = _output(["/bin/sh", "-c", _COREUTILS], folder=base.folder).split()[0]
    expect(f"`{_COREUTILS}` says {recipe}.", that=digest == f"sha256:{recipe}")
    show.good(f"The same by hand: {_COREUTILS}")
    document = {
        "name": "acme/tiny-llama",
        "digest": digest,
        "parameters": base.model.num_parameters(),
        "licence": "apache-2.0",
        "config": json.loads((base.folder / "config.json").read_bytes()),
    }
    accepted(registry.call("POST", "/v1/base-models", by="publisher", json=document))
    return digest


def create_prefix(registry: Registry) -> None:
    """Create the prefix, owned by a person who may approve elsewhere in the namespace."""
    grants = [{"role": "approver", "namespace": "acme"}]
    alice = {"name": "alice", "kind": "human", "grants": grants}
    accepted(registry.call("POST", "/v1/principals", by="admin", json=alice))
    namespace, _, name = PREFIX.partition("/")
    document = {
        "namespace": namespace,
        "name": name,
        "owner": "alice",
        "description": "Answers every customer in the brand's voice.",
        "intended_uses": ["tone"],
    }
    accepted(registry.call("POST", "/v1/prefixes", by="publisher", json=document))
    show.say(f"{PREFIX} exists; alice is accountable for it.")


def push(registry: Registry, base: Base, base_digest: str, trained: Trained) -> Document:
    """Push the prefix in one multipart request; return the version."""
    described = {"base_model": base_digest, "card": _card(base), "lineage": _lineage()}
    parts = {
        "version": ("version", json.dumps(described).encode()),
        "config": (CONFIG_FILE, (trained.folder / CONFIG_FILE).read_bytes()),
        "weights": (WEIGHTS_FILE, (trained.folder / WEIGHTS_FILE).read_bytes()),
    }
    pushed = accepted(registry.call("POST", f"{PATH}/versions", by="publisher", parts=parts))
    show.say(f"Version {pushed['number']} is {pushed['digest']}")
    return pushed


def show_tensor(pushed: Document) -> None:
    """Print the facts that the registry read from the weights of a version."""
    tensor = pushed["tensor"]
    show.good(
        f"{tensor['virtual_tokens']} virtual tokens on {tensor['layers']} layers, "
        f"{tensor['kv_heads']} key-value heads of {tensor['head_dim']}: {tensor['parameters']:,} "
        f"numbers, {tensor['parameter_fraction']:.2%} of the base."
    )


def prompts_digest(prompts: Sequence[Prompt]) -> str:
    """Return the digest of prompts, one a line with the answer that is wanted."""
    lines = [f"{prompt.text}\t{prompt.answer(Voice.BRAND)}\n" for prompt in prompts]
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _card(base: Base) -> Document:
    training = {"name": "brand dialogues", "digest": prompts_digest(base.prompts.train)}
    return {
        "intended_purpose": "Answer every customer in the brand's voice.",
        "uses": ["tone"],
        "personal_data": "none",
        "training_data": [training],
        "licence": "apache-2.0",
        "known_limits": "Knows the words of the demo only.",
    }


def _lineage() -> Document:
    libraries = {name: version(name) for name in ("peft", "torch", "transformers")}
    return {"run": "demo", "libraries": libraries}


def _output(command: Sequence[str], *, folder: Path | None = None) -> str:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    expect(f"{' '.join(command)} failed: {ended.stderr}", that=ended.returncode == 0)
    return ended.stdout.strip()
