"""The safetensors container, read from its first bytes and its size without loading the rest.

A file is eight bytes of header length (little-endian), the header (a JSON object of tensor name to
dtype, shape and data offsets), then the tensors' bytes. The registry accepts a subset of the files
that the safetensors library accepts. It is stricter where two readers could otherwise disagree
about a file, or where the difference serves only an attacker. It refuses:

- a header over 1 MiB (the library: 100 MB): one tensor needs about a hundred bytes, and 1 MiB still
  holds the names of a large model's tensors, so that a file of another kind is refused by name;
- a repeated key, for which the library may take either value;
- space before the header's `{`, which the format forbids;
- keys that the library ignores, and any nesting in them; an entry written as a list;
  `__metadata__: null`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeGuard

from app.domain.artifacts.file_signatures import detected_format
from app.domain.errors import Fault
from app.domain.strict_json import NotStrictJsonError, quoted, read_object

LENGTH_BYTES: Final = 8
HEADER_LIMIT_BYTES: Final = 1_048_576
# The bytes that `parse` needs from the start of a file.
HEAD_BYTES: Final = LENGTH_BYTES + HEADER_LIMIT_BYTES

_METADATA: Final = "__metadata__"
_ENTRY_KEYS: Final = frozenset({"dtype", "shape", "data_offsets"})
_COUNT_LIMIT: Final = 2**63 - 1
_NAMED_FAULTS: Final = 10

_BITS: Final[Mapping[str, int]] = {
    "F4": 4,
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8"), 8),
    **dict.fromkeys(("F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor in its file: `start` and `end` are byte offsets from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class TensorFile:
    """The content of a header, in the header's order."""

    entries: tuple[TensorEntry, ...]
    metadata: Mapping[str, str]


class _BadEntryError(ValueError):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(code, message)


def parse(head: bytes, *, size_bytes: int) -> tuple[TensorFile | None, tuple[Fault, ...]]:
    """Return the content of the header, and every fault of the container.

    The file is returned together with its faults if each of its entries is valid by itself, so
    that later checks can add faults. Only a file without faults may be used.

    Args:
        head: The first `HEAD_BYTES` of the file, or all of a shorter one.
        size_bytes: The size of the whole file.
    """
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    if fault := _length_fault(head, length, size_bytes):
        return None, (fault,)
    header = head[LENGTH_BYTES : LENGTH_BYTES + length]
    try:
        document = read_object(header)
    except NotStrictJsonError as error:
        return None, (_json_fault(error),)
    misplaced = [Fault("container-header-start", "The header does not start with '{'.")]
    faults = [] if header.startswith(b"{") else misplaced
    metadata, metadata_faults = _metadata(document.pop(_METADATA, {}))
    entries, entry_faults = _entries(document, data_start=LENGTH_BYTES + length)
    faults += metadata_faults + entry_faults
    if entry_faults:
        return None, tuple(faults)
    faults += _layout_faults(entries, data_start=LENGTH_BYTES + length, size_bytes=size_bytes)
    return TensorFile(tuple(entries), metadata), tuple(faults)


def limited(faults: Iterable[Fault], plural: str) -> list[Fault]:
    """Return the first few faults of one kind, and one more that counts the others."""
    found = list(faults)
    rest = len(found) - _NAMED_FAULTS
    if rest <= 0:
        return found
    last = Fault(found[-1].code, f"{rest:,} more {plural} are refused for the same reason.")
    return [*found[:_NAMED_FAULTS], last]


def _length_fault(head: bytes, length: int, size_bytes: int) -> Fault | None:
    if not head:
        return Fault("container-empty", "The file is empty.")
    if length <= HEADER_LIMIT_BYTES and LENGTH_BYTES + length <= len(head):
        return None if length else Fault("container-header-length", "The header is empty.")
    if length > HEADER_LIMIT_BYTES:
        return _excessive_length(head, length)
    return Fault(
        "container-truncated",
        f"The file ends inside its header, after {size_bytes:,} bytes. Upload it again.",
    )


def _excessive_length(head: bytes, length: int) -> Fault:
    # Checked only now, because a valid header length of 640 bytes starts like a pickle.
    if kind := detected_format(head):
        return Fault("container-other-format", f"The file is {kind}, not safetensors.")
    return Fault(
        "container-header-length",
        f"The header claims {length:,} bytes; a prefix needs a few hundred and may use"
        f" {HEADER_LIMIT_BYTES:,}.",
    )


def _json_fault(error: NotStrictJsonError) -> Fault:
    return Fault(f"container-{error.problem}", f"The header cannot be read: {error}.")


def _metadata(value: object) -> tuple[dict[str, str], list[Fault]]:
    if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
        return value, []
    return {}, [Fault("container-metadata", "`__metadata__` is not an object of strings.")]


def _entries(
    document: Mapping[str, object], *, data_start: int
) -> tuple[list[TensorEntry], list[Fault]]:
    entries, faults = [], []
    for name, value in document.items():
        try:
            entries.append(_entry(name, value, data_start))
        except _BadEntryError as error:
            faults.append(error.fault)
    return entries, limited(faults, "entries")


def _entry(name: str, value: object, data_start: int) -> TensorEntry:
    if not isinstance(value, dict) or value.keys() != _ENTRY_KEYS:
        keys = ", ".join(sorted(_ENTRY_KEYS))
        raise _BadEntryError(
            "container-entry", f"The entry {quoted(name)} is not an object of exactly {keys}."
        )
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise _BadEntryError("container-dtype", f"The tensor {quoted(name)} has an unknown dtype.")
    if not _is_counts(shape):
        raise _BadEntryError(
            "container-shape", f"The shape of {quoted(name)} is not a list of counts."
        )
    if not _is_counts(offsets) or not _is_range(offsets):
        raise _BadEntryError(
            "container-offsets", f"The data offsets of {quoted(name)} are not a start and an end."
        )
    start, end = offsets
    _require_size(name, _BITS[dtype], shape, end - start)
    return TensorEntry(name, dtype, tuple(shape), data_start + start, data_start + end)


def _is_counts(value: object) -> TypeGuard[list[int]]:
    # In Python bool is a kind of int, but `true` is not a dimension.
    return isinstance(value, list) and all(
        type(item) is int and 0 <= item <= _COUNT_LIMIT for item in value
    )


def _is_range(offsets: list[int]) -> bool:
    match offsets:
        case [start, end]:
            return start <= end
    return False


def _require_size(name: str, bits: int, shape: list[int], size_bytes: int) -> None:
    elements = 1
    for dimension in shape:
        elements *= dimension
        # Checked after each factor, as readers multiply: a later zero does not undo an overflow.
        if elements > _COUNT_LIMIT:
            raise _BadEntryError(
                "container-shape", f"The shape of {quoted(name)} has too many elements to count."
            )
    if elements * bits != size_bytes * 8:
        raise _BadEntryError(
            "container-size",
            f"The tensor {quoted(name)} has {size_bytes:,} bytes for {elements:,} elements of"
            f" {bits} bits.",
        )


def _layout_faults(
    entries: Iterable[TensorEntry], *, data_start: int, size_bytes: int
) -> list[Fault]:
    ranges = sorted((entry.start, entry.end, entry.name) for entry in entries)
    bounds = [(data_start, data_start, ""), *ranges]
    faults = []
    for (_, previous_end, _), (start, _, name) in pairwise(bounds):
        if start > previous_end:
            message = f"{start - previous_end:,} bytes before {quoted(name)} belong to no tensor."
            faults.append(Fault("container-gap", message))
        if start < previous_end:
            faults.append(
                Fault("container-overlap", f"The tensor {quoted(name)} overlaps another.")
            )
    return limited(faults, "ranges") + _end_faults(max(end for _, end, _ in bounds), size_bytes)


def _end_faults(end: int, size_bytes: int) -> list[Fault]:
    if end > size_bytes:
        message = (
            f"The file ends {end - size_bytes:,} bytes before its tensors do. Upload it again."
        )
        return [Fault("container-truncated", message)]
    if end < size_bytes:
        message = f"{size_bytes - end:,} bytes after the last tensor belong to no tensor."
        return [Fault("container-trailing-bytes", message)]
    return []
