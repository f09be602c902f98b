"""Contents: the cost of their digest and sketch, and the search for near copies."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import torch  # noqa: TID251  # makes the elements, and the scan to compare with
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import BaseModelRow, Content
from app.db.near_copies import content_row, near_copies_of
from app.db.session import engine_for
from app.domain.artifacts.geometry import Geometry
from app.domain.artifacts.near_copies import NEAR, ContentSketch
from app.domain.artifacts.prefix import DTYPES
from app.domain.artifacts.safetensors_header import TensorEntry
from app.domain.artifacts.sketch import BUCKETS, segments_per_window
from app.storage.tensors import Tally, scan
from benchmarks.artifacts import ARCHITECTURE
from benchmarks.population import connect
from benchmarks.registry import BASE, Installation, installation, served
from benchmarks.series import Section, interleaved, timed

SCAN_LIMIT: Final = 1.15  # times the scan of the norms alone, on otherwise idle cores

_GEOMETRY: Final = Geometry("llama", 32, 32, 8, 128, 4096)
_SCANNED_BYTES: Final = 64 * 2**20
_ROUNDS: Final = 9
_TOKENS: Final = 20
_DIGEST: Final = "sha256:{:064x}"


def contents(section: Section, folder: Path, *, rows: int) -> None:
    """Measure the scan, and the search among `rows` contents of one base model and one norm."""
    verdicts = [_scans(section, dtype) for dtype in DTYPES]
    with installation(folder) as installed:
        with served(installed) as registry:
            base = {"name": "base", "digest": BASE, "parameters": 8_000_000_000}
            body = base | {"architecture": ARCHITECTURE}
            registry.by("publisher").call("POST", "/v1/base-models", json_body=body)
        _search(section, installed, rows)
    section.text = "\n".join(verdicts)


def _scans(section: Section, dtype: str) -> str:
    """Measure both scans of one file in turn; return a line with their ratio."""
    elements = torch.randn(_SCANNED_BYTES // (2 if dtype != "F32" else 4))
    held = elements.to(getattr(torch, DTYPES[dtype]))
    file = BytesIO(held.view(torch.uint8).numpy().tobytes())
    shape = (len(held) // _GEOMETRY.columns, _GEOMETRY.columns)
    entry = TensorEntry("prompt_embeddings", dtype, shape, 0, _SCANNED_BYTES)
    measured: dict[str, Callable[[], float]] = {
        "norms": lambda: timed(lambda: norms(file, entry, _GEOMETRY)),
        "norms, digest and sketch": lambda: timed(lambda: scan(file, entry, _GEOMETRY)),
    }
    found = interleaved(_ROUNDS, measured)
    for name, seconds in found.items():
        section.add(f"scan 64 MiB of {dtype}", name, "ms", *(1000 * each for each in seconds))
    alone, whole = (min(seconds) for seconds in found.values())
    limit = f"A scan of {dtype} should take {SCAN_LIMIT} times as long as its norms"
    return f"- {limit}: {whole / alone:.2f} times, by the fastest of {_ROUNDS} rounds."


def norms(file: BinaryIO, entry: TensorEntry, geometry: Geometry) -> None:
    """Scan only the norms, in one thread."""
    dtype = getattr(torch, DTYPES[entry.dtype])
    tally = Tally(torch.zeros(geometry.layers * 2, dtype=torch.float64))
    buffer = bytearray(segments_per_window(geometry.width) * geometry.width * dtype.itemsize)
    file.seek(entry.start)
    for start in range(entry.start, entry.end, len(buffer)):
        part = file.read(min(len(buffer), entry.end - start))
        buffer[: len(part)] = part
        segments = torch.frombuffer(buffer[: len(part)], dtype=dtype).view(-1, geometry.width)
        sums = segments.double().square_().sum(dim=1)
        tally.add(sums, torch.arange(len(sums)), segments)


@dataclass(frozen=True, slots=True)
class _Spread:
    """How far contents are from each other: `distance` is None if they are independent."""

    name: str
    virtual_tokens: int
    distance: float | None


_SPREADS: Final = (
    _Spread("independent", _TOKENS, None),
    _Spread("7 % from each other", _TOKENS + 1, 0.05),
)


def _search(section: Section, installed: Installation, rows: int) -> None:
    engine = engine_for(installed.stores.postgres.owner_url)
    with Session(engine) as session:
        base = session.scalars(select(BaseModelRow)).one()
        for spread in _SPREADS:
            _load(installed, base, spread, rows)
            first = session.get_one(Content, _DIGEST.format(spread.virtual_tokens * 2**40))
            search = partial(near_copies_of, session, first, NEAR)
            search()  # the first statement of a kind is prepared
            taken = [1000 * timed(search) for _ in range(_ROUNDS)]
            section.add(f"near copies among {rows:,} contents", spread.name, "ms", *taken)
    engine.dispose()


def _load(installed: Installation, base: BaseModelRow, spread: _Spread, rows: int) -> None:
    source = random.Random(1)  # noqa: S311 - numbers, not secrets
    columns = [column.key for column in Content.__table__.columns]
    center = _direction(source)
    with connect(installed.stores.postgres.owner_url) as connection:
        target = f"COPY content ({', '.join(columns)}) FROM STDIN"
        with connection.cursor().copy(target) as copy:
            for number in range(rows):
                step = _direction(source)
                if spread.distance is not None:
                    pairs = zip(center, step, strict=True)
                    step = [mean + spread.distance * part for mean, part in pairs]
                sketch = ContentSketch(spread.virtual_tokens, 100 + source.random(), step)
                digest = _DIGEST.format(spread.virtual_tokens * 2**40 + number)
                row = content_row(digest, base, sketch)
                copy.write_row([getattr(row, column) for column in columns])
        connection.execute("ANALYZE content")


def _direction(source: random.Random) -> list[float]:
    numbers = [source.gauss(0, 1) for _ in range(BUCKETS)]
    length = math.hypot(*numbers)
    return [number / length for number in numbers]
