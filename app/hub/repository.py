"""A version as a Hugging Face repository shows it: its files, the generated README among them."""

import hashlib
from dataclasses import dataclass
from typing import Final

from app.db.models import Version, VersionFile
from app.domain.artifacts.manifest import WEIGHTS_FILE
from app.hub.card import ModelCard, readme

README: Final = "README.md"


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """A file at a revision: stored bytes, or the content of a generated one."""

    path: str
    size_bytes: int
    sha256: str
    stored: VersionFile | None = None
    content: bytes = b""

    @property
    def is_large(self) -> bool:
        """Whether clients are told that Git LFS holds it, which is how they show weights."""
        return self.path == WEIGHTS_FILE

    @property
    def object_id(self) -> str:
        """Forty hex digits that change when the content does, as a Git object id would."""
        return self.sha256[:40]


def generated_card(card: ModelCard) -> RepositoryFile:
    """Return README.md, written from what the registry knows now."""
    text = readme(card).encode()
    return RepositoryFile(README, len(text), hashlib.sha256(text).hexdigest(), content=text)


def stored_files(version: Version) -> list[RepositoryFile]:
    """Return the files that were pushed, by path."""
    return [
        RepositoryFile(file.name, file.size_bytes, file.sha256.removeprefix("sha256:"), stored=file)
        for file in version.files
    ]


def sibling(file: RepositoryFile, *, with_blobs: bool) -> dict[str, object]:
    """Return a file as model information lists it."""
    if not with_blobs:
        return {"rfilename": file.path}
    return {
        "rfilename": file.path,
        "size": file.size_bytes,
        "blobId": file.object_id,
        **_large_file(file),
    }


def tree_entry(file: RepositoryFile) -> dict[str, object]:
    """Return a file as the listing of a folder has it."""
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
    # `size` and `sha256` are what model information calls them, `oid` what a tree does.
    facts = {"oid": file.sha256, "sha256": file.sha256, "size": file.size_bytes}
    return {"lfs": facts | {"pointerSize": 134}}
