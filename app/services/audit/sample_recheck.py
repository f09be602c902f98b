"""Recheck: recomputing an evaluation's cells and packed scores from its stored samples."""

from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import BinaryIO

from sqlalchemy.orm import Session

from app.db.evaluations import evaluation_of, scores_of, suite_of
from app.db.models import EvaluationFile, EvaluationRow
from app.domain.errors import DamagedObjectError, InvalidEvaluationError
from app.domain.evidence.evaluation import CellKey, EvidenceKind
from app.domain.evidence.samples import LINE_LIMIT_BYTES, SampleSet, read_samples
from app.domain.evidence.suites import Suite
from app.services.evidence.jsonl import lines_of
from app.services.evidence.submissions import SAMPLES_FILES
from app.storage.blobs import Blobs, verified


def contradictions(session: Session, blobs: Blobs, row: EvaluationRow) -> Iterator[str]:
    """Yield each contradiction between an evaluation's rows and its stored samples.

    An evaluation submitted as aggregates has no samples, so nothing is checked.
    """
    if row.kind is not EvidenceKind.SAMPLES:
        return
    name = f"The evaluation {row.id}"
    file = next((each for each in row.files if each.name in SAMPLES_FILES), None)
    if file is None:
        yield f"{name} is missing its samples."
        return
    with TemporaryFile() as copy:
        try:
            _fetch(blobs, file, copy)
        except DamagedObjectError as error:
            yield f"{name}: {error.detail}"
            return
        found = _read(copy, suite_of(row.suite))
    if found is None:
        yield f"{name} has samples that can no longer be read."
        return
    for key in _differing(session, row, found):
        yield f"{name} has samples that contradict its cell {key}."


def _fetch(blobs: Blobs, file: EvaluationFile, copy: BinaryIO) -> None:
    with blobs.open(file.sha256) as chunks:
        copy.writelines(verified(chunks, file.sha256, range(file.size_bytes)))
    copy.seek(0)


def _read(copy: BinaryIO, suite: Suite) -> SampleSet | None:
    lines = lines_of(copy, limit_bytes=LINE_LIMIT_BYTES)
    try:
        found, _ = read_samples(lines, suite, sparse=True)
    except InvalidEvaluationError:
        return None  # the file begins as gzip but cannot be unpacked
    return found


def _differing(session: Session, row: EvaluationRow, found: SampleSet) -> list[CellKey]:
    """Return the cells whose aggregate or packed scores differ from those of the file."""
    recomputed = {result.key: result.cell for result in found.results()}
    packed = scores_of(session, [row.id], {cell.metric for cell in row.cells})
    stored = evaluation_of(row, packed.get(row.id, {}))
    return sorted(
        key
        for key in {*recomputed, *stored.cells}
        if recomputed.get(key) != stored.cells.get(key)
        or found.scores.get(key) != stored.scores.get(key)
    )
