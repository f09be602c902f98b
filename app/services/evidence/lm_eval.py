"""Reading the files of lm-evaluation-harness runs."""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace

from app.db.session import expect
from app.domain.errors import Fault
from app.domain.evidence.imports.lm_eval import (
    RESULTS_FILE,
    Task,
    TaskMap,
    read_results,
    task_of_file,
)
from app.domain.evidence.imports.lm_eval_samples import LINE_LIMIT_BYTES, SamplesReader
from app.domain.evidence.reports import Claim, refused, require_faultless
from app.domain.evidence.suites import Suite
from app.domain.strict_json import NotStrictJsonError, quoted, read_tool_object
from app.services.artifacts.spooled_files import ReceivedFile, SpooledWriter
from app.services.evidence.jsonl import lines_of
from app.services.evidence.submissions import Submission, Submitted


@dataclass(frozen=True, slots=True)
class LmEvalRun:
    """A received run: the results file, a samples file for each task, and their mapping."""

    maps: Sequence[TaskMap]
    results: ReceivedFile
    samples: Sequence[ReceivedFile]

    def submission(self, claim: Claim) -> Submission:
        return Submission(claim, self._read)

    def _read(self, suite: Suite) -> AbstractContextManager[Submitted]:
        return _submitted(self, suite)


@contextmanager
def _submitted(run: LmEvalRun, suite: Suite) -> Iterator[Submitted]:
    """Yield the run as a report with samples.

    Raises:
        InvalidEvaluationError: The files contradict each other, their mapping or the suite.
    """
    try:
        run.results.content.seek(0)
        document = read_tool_object(run.results.content.read())
    except NotStrictJsonError as error:
        message = f"The results cannot be read: {error}."
        raise refused([Fault("not-results", message)]) from error
    report, tasks, faults = read_results(document, run.maps, suite)
    files, file_faults = _files_by_task(run)
    require_faultless([*faults, *file_faults])
    with ExitStack() as stack:
        spool = SpooledWriter(stack)
        report = expect(report)
        reasons = list(report.partial_reasons)
        for task in tasks:
            reasons += _convert(task, files[task.map.task], spool)
        sources = [(RESULTS_FILE, run.results)]
        sources += [(_stored_name(name), file) for name, file in files.items()]
        report = replace(report, partial_reasons=reasons)
        yield Submitted(report, spool.finished(), sources)


def _convert(task: Task, file: ReceivedFile, spool: SpooledWriter) -> list[str]:
    """Write the task's samples in the registry's format; return the reasons they are partial."""
    reader = SamplesReader(task)
    for line in lines_of(file.content, limit_bytes=LINE_LIMIT_BYTES):
        row = reader.take(line)
        if row is not None:
            spool.write(row)
        if reader.has_too_many_faults:
            break
    reasons = reader.finish()
    require_faultless(reader.faults)
    return reasons


def _files_by_task(run: LmEvalRun) -> tuple[dict[str, ReceivedFile], list[Fault]]:
    wanted = [task_map.task for task_map in run.maps]
    found: dict[str, ReceivedFile] = {}
    faults: list[Fault] = []
    for file in run.samples:
        task = task_of_file(file.file_name)
        if task is None or task not in wanted:
            message = (
                f"The file {quoted(file.file_name)} does not hold the samples of a mapped task; "
                "the harness names such files samples_<task>_<time>.jsonl."
            )
            faults.append(Fault("unknown-samples", message))
        elif task in found:
            message = f"The task {quoted(task)} has two files of samples."
            faults.append(Fault("repeated-samples", message))
        else:
            found[task] = file
    faults += [
        Fault("missing-samples", f"The samples file of the task {quoted(task)} is missing.")
        for task in wanted
        if task not in found
    ]
    names = [_stored_name(task).lower() for task in found]
    if len(set(names)) < len(names):
        faults.append(
            Fault("repeated-samples", "Two task names differ only in punctuation or case.")
        )
    return found, faults


def _stored_name(task: str) -> str:
    return f"samples_{re.sub(r'[^A-Za-z0-9._-]', '_', task)}.jsonl"
