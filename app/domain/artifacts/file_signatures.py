"""What else a file may be, told by its first bytes, so that a refusal can say what to do."""

from collections.abc import Mapping
from typing import Final

_PICKLE = (
    "a Python pickle, which runs code when it is loaded (save it with safe_serialization=True)"
)

_SIGNATURES: Final[Mapping[bytes, str]] = {
    b"\x80\x02": _PICKLE,
    b"\x80\x03": _PICKLE,
    b"\x80\x04": _PICKLE,
    b"\x80\x05": _PICKLE,
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"GGUF": "a GGUF model",
    b"\x1f\x8b": "a gzip archive",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with `git lfs pull`",
}
_HTML: Final = (b"<!doctype", b"<html", b"<?xml")


def recognised(head: bytes) -> str | None:
    """Return what the bytes start, as a noun phrase, or None for a format we do not know."""
    if head.startswith(b"PK\x03\x04"):
        return _archive(head)
    if head.lstrip().lower().startswith(_HTML):
        return "a web page, perhaps the answer to a download that needed a login"
    if head.lstrip().startswith(b"{"):
        return "JSON text"
    return next((kind for magic, kind in _SIGNATURES.items() if head.startswith(magic)), None)


def _archive(head: bytes) -> str:
    if b"data.pkl" in head:
        return "a PyTorch archive around a pickle, which runs code when it is loaded"
    if b".npy" in head:
        return "a NumPy .npz archive"
    return "a ZIP archive"
