"""Reading Inspect logs: an archive with one document for each sample, or a single JSON document."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

from app.db.session import expect
from app.domain.errors import Fault
from app.domain.evidence.imports.inspect_log import LogMap, read_header
from app.domain.evidence.imports.inspect_samples import LogSamples
from app.domain.evidence.reports import Claim, refused, require_faultless
from app.domain.evidence.suites import Suite
from app.domain.strict_json import NotStrictJsonError, read_tool_object
from app.services.artifacts.spooled_files import ReceivedFile, SpooledWriter
from app.services.evidence.submissions import Submission, Submitted
from app.storage.archives import ArchiveLimits, InvalidArchiveError, opened_archive

_DOCUMENT_LIMIT_BYTES: Final = 32 << 20
_EXPANDED_LIMIT_BYTES: Final = 4 << 30
_ZIP: Final = b"PK"

Document = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class InspectRun:
    """A received Inspect run: the log, and its mapping to the suite."""

    map: LogMap
    log: ReceivedFile

    def submission(self, claim: Claim) -> Submission:
        return Submission(claim, self._read)

    def _read(self, suite: Suite) -> AbstractContextManager[Submitted]:
        return _submitted(self, suite)


@contextmanager
def _submitted(run: InspectRun, suite: Suite) -> Iterator[Submitted]:
    """Yield the run as a report with samples.

    Raises:
        InvalidEvaluationError: The log cannot be read, or it contradicts itself, its mapping or
            the suite.
    """
    with ExitStack() as stack:
        spool = SpooledWriter(stack)
        try:
            submitted = _converted(run, suite, spool)
        except (InvalidArchiveError, NotStrictJsonError) as error:
            message = f"The log cannot be read: {str(error).removesuffix('.')}."
            raise refused([Fault("not-a-log", message)]) from error
        yield submitted


def _converted(run: InspectRun, suite: Suite, spool: SpooledWriter) -> Submitted:
    run.log.content.seek(0)
    is_archive = run.log.content.read(len(_ZIP)) == _ZIP
    file = "log.eval" if is_archive else "log.json"
    documents = _archived(run.log) if is_archive else _plain(run.log)
    _, header_document = next(documents)
    report, header, faults = read_header(header_document, run.map, suite, file)
    require_faultless(faults)
    report, samples = expect(report), LogSamples(expect(header), run.map, sealed=suite.sealed)
    for place, document in documents:
        samples.take(document, place)
        if samples.has_too_many_faults:
            break
    reasons = [*report.partial_reasons, *samples.finish()]
    require_faultless(samples.faults)
    for row in samples.rows():
        spool.write(row)
    report = replace(report, partial_reasons=reasons)
    return Submitted(report, spool.finished(), [(file, run.log)])


def _archived(log: ReceivedFile) -> Iterator[tuple[str, Document]]:
    """Yield the header, then each sample, each with its name in the archive."""
    limits = ArchiveLimits(_DOCUMENT_LIMIT_BYTES, _EXPANDED_LIMIT_BYTES)
    with opened_archive(log.content, limits) as archive:
        if "header.json" in archive.names:
            yield "header.json", read_tool_object(archive.read("header.json"))
        elif "_journal/start.json" in archive.names:
            # The run was interrupted before its header was written.
            started = read_tool_object(archive.read("_journal/start.json"))
            yield "_journal/start.json", {"status": "started", "invalidated": False} | started
        else:
            raise InvalidArchiveError("it has no header")
        for name in archive.names:
            if name.startswith("samples/") and name.endswith(".json"):
                yield name, read_tool_object(archive.read(name))


def _plain(log: ReceivedFile) -> Iterator[tuple[str, Document]]:
    """Yield the header, then each sample, of a log that is one JSON document, parsed in memory."""
    if log.size_bytes > _DOCUMENT_LIMIT_BYTES:
        message = (
            f"The log is a JSON document of more than {_DOCUMENT_LIMIT_BYTES} bytes; convert it "
            "with `inspect log convert --to eval` and send the .eval file."
        )
        raise refused([Fault("too-large", message)])
    log.content.seek(0)
    document = read_tool_object(log.content.read())
    yield "the log", document
    samples = document.get("samples")
    for number, sample in enumerate(samples if isinstance(samples, list) else [], start=1):
        yield f"sample {number}", sample if isinstance(sample, dict) else {}
