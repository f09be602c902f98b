"""Reading a manifest, and writing its canonical form, in bounded memory."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from heapq import merge
from tempfile import TemporaryFile
from typing import BinaryIO, Final

from app.db.session import expect
from app.domain.errors import Fault, InvalidSuiteError
from app.domain.evidence.manifests import Manifest, ManifestLine, ManifestReader
from app.domain.evidence.rows import LINE_LIMIT_BYTES
from app.domain.evidence.suites import Suite
from app.services.artifacts.spooled_files import ReceivedFile, SpooledWriter
from app.services.evidence.jsonl import lines_of

# Lines that are sorted in memory at a time.
_SORTED: Final = 50_000


@dataclass(frozen=True, slots=True)
class ReceivedManifest:
    """A checked manifest, and its canonical lines in order of id."""

    manifest: Manifest
    file: ReceivedFile


@contextmanager
def received_manifest(content: BinaryIO, suite: Suite) -> Iterator[ReceivedManifest]:
    """Yield the manifest in a file, plain or gzip, with its canonical form.

    Raises:
        InvalidSuiteError: The manifest contradicts itself or the suite; the error lists the first
            faults.
    """
    reader = ManifestReader(suite)
    with ExitStack() as stack:
        lines = _Sorted(stack)
        for line in lines_of(content, limit_bytes=LINE_LIMIT_BYTES, refuse=refused_manifest):
            if (sample := reader.take(line)) is not None:
                lines.add(sample)
            if reader.has_too_many_faults:
                break
        manifest = reader.finish()
        if reader.faults:
            raise refused_manifest(reader.faults)
        spool = SpooledWriter(stack)
        for text in lines.merged():
            spool.write(text)
        yield ReceivedManifest(expect(manifest), spool.finished())


def refused_manifest(faults: Sequence[Fault]) -> InvalidSuiteError:
    return InvalidSuiteError("The manifest is refused; see faults.", faults)


class _Sorted:
    """Sorts lines by id: parts in memory are written to files, which are merged at the end."""

    def __init__(self, files: ExitStack) -> None:
        self._files = files
        self._part: list[ManifestLine] = []
        self._written: list[BinaryIO] = []

    def add(self, line: ManifestLine) -> None:
        self._part.append(line)
        if len(self._part) >= _SORTED:
            file = self._files.enter_context(TemporaryFile())  # noqa: SIM115
            file.writelines(self._taken())
            file.seek(0)
            self._written.append(file)

    def merged(self) -> Iterator[bytes]:
        return merge(self._taken(), *self._written, key=_id)

    def _taken(self) -> list[bytes]:
        """Return the lines in memory in order of id, and forget them."""
        lines = [line.text for line in sorted(self._part, key=lambda line: line.id)]
        self._part = []
        return lines


def _id(line: bytes) -> str:
    return str(json.loads(line)["id"])
