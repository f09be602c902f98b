"""The manifest of a version: its files, base model and type in one canonical document."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from app.domain.naming import Json, canonical_digest

CONFIG_FILE: Final = "adapter_config.json"
WEIGHTS_FILE: Final = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True, order=True)
class ArtifactFile:
    """A file of a version, by content: `sha256` is `sha256:<64 hex>`."""

    name: str
    sha256: str
    size_bytes: int


def manifest_of(files: Iterable[ArtifactFile], *, base_model: str, peft_type: str) -> Json:
    """Return the manifest; the order of `files` does not affect it."""
    return {
        "schema": "prefix-registry/manifest/v1",
        "base_model": base_model,
        "peft_type": peft_type,
        "files": [
            {"name": file.name, "sha256": file.sha256, "size_bytes": file.size_bytes}
            for file in sorted(files)
        ],
    }


def manifest_digest(manifest: Json) -> str:
    """Return the version's digest: SHA-256 over the manifest's canonical JSON (RFC 8785)."""
    return canonical_digest(manifest)


def revision_of(digest: str) -> str:
    """Return the 40 hex digits under which Hugging Face clients know a version."""
    return digest.removeprefix("sha256:")[:40]
