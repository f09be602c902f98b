"""A version as a Hugging Face repository: its stored files and the generated README."""

import hashlib
from dataclasses import dataclass
from typing import Final

from app.db.models import Version, VersionFile
from app.domain.artifacts.manifest import WEIGHTS_FILE
from app.hub.card import ModelCard, readme

README: Final = "README.md"


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """A file at a revision, either stored or generated with `content`."""

    path: str
    size_bytes: int
    sha256: str
    stored: VersionFile | None = None
    content: bytes = b""

    @property
    def is_large(self) -> bool:
        """Whether clients see it as stored in Git LFS, which is how they show weights."""
        return self.path == WEIGHTS_FILE

    @property
    def object_id(self) -> str:
        """Forty hex digits that identify the content, like a Git object id."""
        return self.sha256[:40]


def generated_card(card: ModelCard) -> RepositoryFile:
    """Return README.md, generated from the registry's current records."""
    text = readme(card).encode()
    return RepositoryFile(README, len(text), hashlib.sha256(text).hexdigest(), content=text)


def stored_files(version: Version) -> list[RepositoryFile]:
    """Return the pushed files, by path."""
    return [
        RepositoryFile(file.name, file.size_bytes, file.sha256.removeprefix("sha256:"), stored=file)
        for file in version.files
    ]


def sibling(file: RepositoryFile, *, with_blobs: bool) -> dict[str, object]:
    """Return a file in the form that model information uses."""
    if not with_blobs:
        return {"rfilename": file.path}
    return {
        "rfilename": file.path,
        "size": file.size_bytes,
        "blobId": file.object_id,
        **_large_file(file),
    }


def tree_entry(file: RepositoryFile) -> dict[str, object]:
    """Return a file in the form that folder listings use."""
    return {
        "type": "file",
        "path": file.path,
        "size": file.size_bytes,
        "oid": file.object_id,
        **_large_file(file),
    }


def _large_file(file: RepositoryFile) -> dict[str, object]:
    if not file.is_large:
        return {}
    # Model information calls the digest `sha256`, trees call it `oid`.
    pointer = {"oid": file.sha256, "sha256": file.sha256, "size": file.size_bytes}
    return {"lfs": pointer | {"pointerSize": 134}}
