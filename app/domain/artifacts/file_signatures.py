"""Other file formats, detected by their first bytes, so that a refusal can suggest a remedy."""

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


def detected_format(head: bytes) -> str | None:
    """Return the format of a file that starts with these bytes, as a noun phrase; or None."""
    if head.startswith(b"PK\x03\x04"):
        return _archive(head)
    if head.lstrip().lower().startswith(_HTML):
        return "a web page, perhaps the response to a download that needs a login"
    if head.lstrip().startswith(b"{"):
        return "JSON text"
    return next((kind for magic, kind in _SIGNATURES.items() if head.startswith(magic)), None)


def _archive(head: bytes) -> str:
    if b"data.pkl" in head:
        return "a PyTorch archive around a pickle, which runs code when it is loaded"
    if b".npy" in head:
        return "a NumPy .npz archive"
    return "a ZIP archive"
