"""The scan of every element of a prefix, in bounded memory; no other module computes on tensors."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO, Final

from app.domain.artifacts.geometry import Geometry
from app.domain.artifacts.prefix import DTYPES, TensorScan
from app.domain.artifacts.safetensors_header import TensorEntry
from app.domain.artifacts.sketch import (
    BUCKETS,
    COLUMNS,
    GROUPS,
    column_bytes,
    element_bytes,
    segments_per_window,
    window_bytes,
)
from app.storage.hashed_chunks import HashedChunks

if TYPE_CHECKING:
    import torch  # noqa: TID251  # this is the one module that may
    from torch import Tensor  # noqa: TID251

# Larger chunks leave a thread idle for longer at the start and the end of a file; of smaller ones
# the threads wait for each other more often.
_CHUNK_BYTES: Final = 2**20

# Sums of squares between these are as good in float32 as its 24 bits: no square overflowed, and
# squares that underflowed are too small to matter.
_LEAST_SUM: Final = 2.0**-90
_LARGEST_SUM: Final = 2.0**120


def scan(file: BinaryIO, entry: TensorEntry, geometry: Geometry) -> TensorScan:
    """Return the norms, digest and sketch of a prefix, and how many elements are not finite.

    The file is read, not mapped: mapped pages would count as this process's memory. A chunk is a
    whole number of windows, and a window a whole number of segments; a segment is one token's key
    or value in one layer. Memory therefore does not depend on the length of a prefix or of a row.

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
    window = segments_per_window(geometry.width) * geometry.width
    elements = entry.size_bytes // dtype.itemsize
    signs = _signs(min(window, elements), dtype)
    fast = _Workspace(signs, geometry.width, dtype, torch.float32)
    tally = Tally(torch.zeros(geometry.layers * 2, dtype=torch.float64))
    sketch = _Sketch(-(-elements // window))
    windows_per_chunk = max(1, _CHUNK_BYTES // (window * dtype.itemsize))
    size_bytes = windows_per_chunk * window * dtype.itemsize
    chunks = HashedChunks(file, entry.start, entry.end, size_bytes)
    for chunk in chunks:
        segments = torch.frombuffer(chunk, dtype=dtype).view(-1, geometry.width)
        bits = segments.view(-1).view(signs.dtype)
        windows = torch.split(bits, window)
        squares, columns = fast.sums(windows)
        sums = torch.cat(squares)
        if not (sums.min() >= _LEAST_SUM and sums.max() <= _LARGEST_SUM):
            exact = _Workspace(signs, geometry.width, dtype, torch.float64)
            squares, columns = exact.sums(windows)
            sums = torch.cat(squares)
        tally.add(sums.double(), torch.arange(len(sums)), segments)
        sketch.add(columns)
    return tally.result(chunks.sha256, sketch.result())


def _signs(size: int, dtype: "torch.dtype") -> "Tensor":
    """Return the sign bits by which elements are negated, as integers of the elements' size.

    A change of the sign bit negates a float in a third of the time of a multiplication.
    """
    import torch  # noqa: PLC0415, TID251  # as in `scan`

    integer = {2: torch.int16, 4: torch.int32}[dtype.itemsize]
    negated = torch.frombuffer(bytearray(element_bytes(size)), dtype=torch.uint8) & 1
    return negated.to(integer) << (8 * dtype.itemsize - 1)


class _Workspace:
    """The tensors in which windows are added up.

    They are allocated once, because allocations took a third of a scan. A window has fewer
    elements than the size at which torch splits work across threads (at::internal::GRAIN_SIZE). On
    a busy machine its threads wait for one another at every step: a scan of 64 MiB took 20 to 60 ms
    with them on two idle cores and up to 12 s on two busy ones; without them, 30 to 120 ms and 100
    to 210 ms.
    """

    def __init__(
        self, signs: "Tensor", width: int, dtype: "torch.dtype", precision: "torch.dtype"
    ) -> None:
        import torch  # noqa: PLC0415, TID251  # as in `scan`

        self._xor = torch.bitwise_xor
        self._signs = signs
        self._bits = signs.clone()
        self._negated = self._bits.view(dtype)
        self._rows = signs.new_zeros(-(-len(signs) // COLUMNS), COLUMNS, dtype=precision)
        self._elements = self._rows.view(-1)[: len(signs)]
        self._segments = self._elements.view(-1, width)

    def sums(self, windows: Iterable["Tensor"]) -> tuple[list["Tensor"], list["Tensor"]]:
        """Return for each window the sums of squares of its segments, and its columns."""
        squares: list[Tensor] = []
        columns: list[Tensor] = []
        for window in windows:
            self._fill(window)
            columns.append(self._rows.sum(dim=0))
            self._elements.square_()
            squares.append(self._segments[: len(window) // self._segments.shape[1]].sum(dim=1))
        return squares, columns

    def _fill(self, window: "Tensor") -> None:
        size = len(window)
        if size < len(self._signs):
            self._rows.zero_()
        self._xor(window, self._signs[:size], out=self._bits[:size])
        self._elements[:size].copy_(self._negated[:size])


class Tally:
    """Sums of squares of each layer's keys and values, and the count of non-finite elements."""

    def __init__(self, squares: "Tensor") -> None:
        self._squares = squares
        self._segments_added = 0
        self._non_finite = 0
        self._first: tuple[int, int] | None = None

    def add(self, sums: "Tensor", numbers: "Tensor", segments: "Tensor") -> None:
        """Add segments, of which `sums` has the sums of squares and `numbers` counts from 0."""
        # The square of a float32 neither overflows nor underflows in float64, so the sums show
        # whether every element is finite, and whether every element is zero.
        if not sums.isfinite().all():
            self._count_non_finite(segments)
        parts = (numbers + self._segments_added) % len(self._squares)
        self._squares.index_add_(0, parts, sums)
        self._segments_added += len(sums)

    def result(self, sha256: str, sketch: tuple[float, ...]) -> TensorScan:
        norms = self._squares.sqrt()
        return TensorScan(
            non_finite=self._non_finite,
            first_non_finite=self._first,
            key_norms=tuple(norms[0::2].tolist()),
            value_norms=tuple(norms[1::2].tolist()),
            sha256=sha256,
            sketch=sketch,
        )

    def _count_non_finite(self, segments: "Tensor") -> None:
        counts = (~segments.isfinite()).sum(dim=1)
        self._non_finite += int(counts.sum())
        if self._first is None:
            segment = self._segments_added + int(counts.nonzero()[0])
            row, part = divmod(segment, len(self._squares))
            self._first = (row, part // 2)


class _Sketch:
    """The groups of columns of `app.domain.artifacts.sketch`, and at the end its buckets."""

    def __init__(self, windows: int) -> None:
        import torch  # noqa: PLC0415, TID251  # as in `scan`

        self._groups = torch.zeros(GROUPS, COLUMNS, dtype=torch.float64).unbind()
        self._choices = window_bytes(windows)
        self._added = 0

    def add(self, columns: Iterable["Tensor"]) -> None:
        """Add the columns of the next windows."""
        for window in columns:
            choice = self._choices[self._added]
            self._groups[choice % GROUPS].add_(window, alpha=-1 if choice & GROUPS else 1)
            self._added += 1

    def result(self) -> tuple[float, ...]:
        import torch  # noqa: PLC0415, TID251  # as in `scan`

        buckets = torch.zeros(2 * BUCKETS, dtype=torch.float64)
        for group in sorted({choice % GROUPS for choice in self._choices}):
            choices = torch.frombuffer(bytearray(column_bytes(group)), dtype=torch.uint8)
            choices %= 2 * BUCKETS
            buckets += choices.bincount(self._groups[group], minlength=2 * BUCKETS)
        return tuple((buckets[:BUCKETS] - buckets[BUCKETS:]).tolist())
