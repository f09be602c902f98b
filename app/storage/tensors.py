"""The scan of every element of a prefix, in bounded memory; no other module computes on tensors."""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Final

from app.domain.artifacts.geometry import Geometry
from app.domain.artifacts.prefix import DTYPES, TensorScan
from app.domain.artifacts.safetensors_header import TensorEntry

if TYPE_CHECKING:
    from torch import Tensor  # noqa: TID251  # this is the one module that may

# One less than the size at which torch splits work across threads (at::internal::GRAIN_SIZE). On a
# busy machine its threads wait for one another at every step: a scan of 64 MiB took 20 to 60 ms
# with them on two idle cores and up to 12 s on two busy ones; without them, 30 to 120 ms and 100
# to 210 ms.
WINDOW_ELEMENTS: Final = 32_767


def scan(file: BinaryIO, entry: TensorEntry, geometry: Geometry) -> TensorScan:
    """Return the norms and the digest of a prefix's elements, and how many are not finite.

    The file is read, not mapped: mapped pages would count as this process's memory. A window is a
    whole number of segments; a segment is one token's key or value in one layer. Memory therefore
    does not depend on the length of a prefix or of a row.

    Args:
        file: A seekable file whose container `parse` accepted.
        entry: Its tensor of shape (virtual tokens, `geometry.columns`), in one of `DTYPES`.
        geometry: The base model's dimensions.

    Raises:
        EOFError: The file is shorter than the entry says.
    """
    # Imported here because a worker that only resolves channels should not pay for loading torch.
    import torch  # noqa: PLC0415, TID251

    dtype = getattr(torch, DTYPES[entry.dtype])
    tally = _Tally(torch.zeros(geometry.layers * 2, dtype=torch.float64))
    digest = hashlib.sha256()
    window_elements = max(1, WINDOW_ELEMENTS // geometry.width) * geometry.width
    for window in _windows(file, entry, window_elements * dtype.itemsize):
        digest.update(window)
        segments = torch.frombuffer(window, dtype=dtype).view(-1, geometry.width)
        tally.add(segments, torch.arange(len(segments)))
    return tally.result(f"sha256:{digest.hexdigest()}")


class _Tally:
    """Sums of squares of each layer's keys and values, and the count of non-finite elements."""

    def __init__(self, squares: "Tensor") -> None:
        self._squares = squares
        self._segments_added = 0
        self._non_finite = 0
        self._first: tuple[int, int] | None = None

    def add(self, segments: "Tensor", numbers: "Tensor") -> None:
        sums = segments.double().square_().sum(dim=1)
        # The square of a float32 neither overflows nor underflows in float64, so the sums show
        # whether every element is finite, and whether every element is zero.
        if not sums.isfinite().all():
            self._count_non_finite(segments)
        parts = (numbers + self._segments_added) % len(self._squares)
        self._squares.index_add_(0, parts, sums)
        self._segments_added += len(sums)

    def result(self, sha256: str) -> TensorScan:
        norms = self._squares.sqrt()
        return TensorScan(
            non_finite=self._non_finite,
            first_non_finite=self._first,
            key_norms=tuple(norms[0::2].tolist()),
            value_norms=tuple(norms[1::2].tolist()),
            sha256=sha256,
        )

    def _count_non_finite(self, segments: "Tensor") -> None:
        counts = (~segments.isfinite()).sum(dim=1)
        self._non_finite += int(counts.sum())
        if self._first is None:
            segment = self._segments_added + int(counts.nonzero()[0])
            row, part = divmod(segment, len(self._squares))
            self._first = (row, part // 2)


def _windows(file: BinaryIO, entry: TensorEntry, window_bytes: int) -> Iterator[memoryview]:
    """Yield the tensor's bytes in windows that overwrite one another."""
    buffer = memoryview(bytearray(min(window_bytes, entry.size_bytes)))
    file.seek(entry.start)
    for start in range(entry.start, entry.end, window_bytes):
        window = buffer[: entry.end - start]
        _fill(window, file)
        yield window


def _fill(window: memoryview, file: BinaryIO) -> None:
    filled = 0
    while filled < len(window):
        chunk = file.read(len(window) - filled)
        if not chunk:
            raise EOFError("The file ends before its tensor does.")
        window[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
