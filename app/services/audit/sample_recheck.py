"""Recheck: recomputing an evaluation's cells and packed scores from its stored samples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import BinaryIO
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.evaluations import (
    evaluation_of,
    evaluations_named,
    manifest_file,
    scores_of,
    suite_of,
)
from app.db.models import EvaluationFile, EvaluationRow, SuiteManifest, SuiteRow
from app.db.session import Sessions
from app.domain.errors import DamagedObjectError, InvalidEvaluationError
from app.domain.evidence.evaluation import CellKey, EvidenceKind
from app.domain.evidence.manifests import Manifest
from app.domain.evidence.rows import LINE_LIMIT_BYTES
from app.domain.evidence.samples import SampleSet, read_samples
from app.domain.evidence.suites import Suite
from app.services.evidence.jsonl import lines_of
from app.services.evidence.manifests import received_manifest
from app.services.evidence.submissions import SAMPLES_FILES
from app.storage.blobs import Blobs, verified


@dataclass(frozen=True, slots=True)
class RecordedSamples:
    """An evaluation with samples, and the file that holds them; None if that is missing."""

    evaluation_id: UUID
    suite: SuiteRow
    file: EvaluationFile | None


def recorded_samples(rows: Sequence[EvaluationRow]) -> list[RecordedSamples]:
    """Return the samples of evaluations; one submitted as aggregates has none to check."""
    return [
        RecordedSamples(
            row.id,
            row.suite,
            next((each for each in row.files if each.name in SAMPLES_FILES), None),
        )
        for row in rows
        if row.kind is EvidenceKind.SAMPLES
    ]


def contradictions(sessions: Sessions, blobs: Blobs, recorded: RecordedSamples) -> Iterator[str]:
    """Yield each contradiction between an evaluation's rows and its stored samples."""
    name = f"The evaluation {recorded.evaluation_id}"
    if recorded.file is None:
        yield f"{name} is missing its samples."
        return
    manifest = None
    if recorded.suite.document.get("sealed"):
        manifest = _manifest(sessions, blobs, recorded.suite)
        if manifest is None:
            yield f"{name} has a suite whose manifest is missing or damaged."
            return
    with TemporaryFile() as copy:
        if (damage := _fetch(blobs, recorded.file, copy)) is not None:
            yield f"{name}: {damage.detail}"
            return
        found = _read(copy, suite_of(recorded.suite), manifest)
    if found is None:
        yield f"{name} has samples that can no longer be read."
        return
    with sessions() as session:
        for row in evaluations_named(session, [recorded.evaluation_id]):
            for key in _differing(session, row, found):
                yield f"{name} has samples that contradict its cell {key}."


def _manifest(sessions: Sessions, blobs: Blobs, suite: SuiteRow) -> Manifest | None:
    """Return the manifest as the store has it, None if it is not the one that the suite names."""
    with sessions() as session:
        file = manifest_file(session, suite)
    if file is None or file.sha256 != suite.document["dataset_digest"]:
        return None
    with TemporaryFile() as copy:
        if _fetch(blobs, file, copy) is not None:
            return None
        with received_manifest(copy, suite_of(suite)) as received:
            return received.manifest


def _fetch(
    blobs: Blobs, file: EvaluationFile | SuiteManifest, copy: BinaryIO
) -> DamagedObjectError | None:
    """Copy a stored file; return the damage that two reads found."""
    damage = None
    for _ in range(2):
        copy.seek(0)
        try:
            with blobs.open(file.sha256) as chunks:
                copy.writelines(verified(chunks, file.sha256, range(file.size_bytes)))
        except DamagedObjectError as error:
            damage = error
        else:
            copy.seek(0)
            return None
    return damage


def _read(copy: BinaryIO, suite: Suite, manifest: Manifest | None) -> SampleSet | None:
    lines = lines_of(copy, limit_bytes=LINE_LIMIT_BYTES)
    try:
        found, _ = read_samples(lines, suite, sparse=True, manifest=manifest)
    except InvalidEvaluationError:
        return None  # the file begins as gzip but cannot be unpacked
    return found


def _differing(session: Session, row: EvaluationRow, found: SampleSet) -> list[CellKey]:
    """Return the cells whose aggregate or packed scores differ from those of the file."""
    recomputed = {result.key: result.cell for result in found.results()}
    packed = scores_of(session, [row.id], {cell.metric for cell in row.cells})
    stored = evaluation_of(row, packed.get(row.id, {}))
    missing = {CellKey(c.metric, c.persona, c.locale): c.missing for c in row.cells}
    return sorted(
        key
        for key in {*recomputed, *stored.cells}
        if recomputed.get(key) != stored.cells.get(key)
        or found.missing.get(key, 0) != missing.get(key)
        or found.scores.get(key) != stored.scores.get(key)
    )
