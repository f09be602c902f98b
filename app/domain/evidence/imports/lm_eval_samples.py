"""The rows of a samples file of lm-evaluation-harness, converted to the registry's format."""

import hashlib
import json
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from app.domain.errors import Fault
from app.domain.evidence.evaluation import exact_mean
from app.domain.evidence.imports.documents import InvalidScoreError, score
from app.domain.evidence.imports.lm_eval import Task
from app.domain.evidence.rows import FAULT_LIMIT
from app.domain.evidence.samples import agrees
from app.domain.strict_json import NotStrictJsonError, quoted, read_tool_object

LINE_LIMIT_BYTES: Final = 8 << 20
_HASHES: Final = ("doc_hash", "prompt_hash", "target_hash")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class SamplesReader:
    """Reads the rows of one task; there is one for each document and filter.

    Memory grows with the numbers, not with the text: about 150 bytes for each row.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._number = 0
        self._hasher = hashlib.sha256()
        self._rows: Counter[str] = Counter()
        self._seen: Counter[tuple[str, int]] = Counter()
        self._unscored: Counter[str] = Counter()
        self._values = {key: array("d") for key in task.map.metrics}
        self._metrics: dict[str, dict[str, str]] = {}
        for key, name in task.map.metrics.items():
            metric, _, filter_name = key.partition(",")
            self._metrics.setdefault(filter_name, {})[metric] = name
        self.faults: list[Fault] = []

    @property
    def has_too_many_faults(self) -> bool:
        """Whether there are so many faults that reading on is pointless."""
        return len(self.faults) >= FAULT_LIMIT

    def take(self, line: bytes) -> bytes | None:
        """Return the converted row; None if its filter is not mapped, or it has a fault."""
        self._number += 1
        if not line.strip():
            return None
        row = self._parsed(line)
        hashes = [row.get(name) for name in _HASHES]
        if not row or not all(isinstance(each, str) and _HASH.fullmatch(each) for each in hashes):
            if row:
                self._fault("sample-hash", "doc_hash, prompt_hash or target_hash is missing.")
            return None
        document, prompt, target = map(str, hashes)
        self._hasher.update((document + prompt + target).encode())
        filter_name = row.get("filter")
        if not isinstance(filter_name, str) or filter_name not in self._metrics:
            return None
        scores = self._scores(row, filter_name)
        return self._converted(filter_name, document, prompt, scores)

    def finish(self) -> list[str]:
        """Add the faults of the file as a whole; return the reasons why the run is partial."""
        if not self.faults:
            self.faults += self._file_faults()
        return list(self._partial_reasons())

    def _parsed(self, line: bytes) -> Mapping[str, object]:
        if len(line) > LINE_LIMIT_BYTES:
            self._fault("too-long", f"It has more than {LINE_LIMIT_BYTES} bytes.")
            return {}
        try:
            row = read_tool_object(line)
        except NotStrictJsonError as error:
            self._fault(f"not-{error.problem.value}", f"{error}.")
            return {}
        if not row:
            self._fault("sample-hash", "It is empty.")
        return row

    def _scores(self, row: Mapping[str, object], filter_name: str) -> dict[str, float | None]:
        self._rows[filter_name] += 1
        scores: dict[str, float | None] = {}
        for metric, name in self._metrics[filter_name].items():
            key = f"{metric},{filter_name}"
            if metric not in row:
                self._fault("no-score", f"It has no {quoted(metric)}.")
                continue
            try:
                value = score(row[metric])
            except InvalidScoreError as error:
                message = f"{quoted(metric)} is {error}; only numbers can be compared."
                self._fault("not-a-number", message)
                continue
            scores[name] = value
            if value is None:
                self._unscored[key] += 1
            else:
                self._values[key].append(value)
        return scores

    def _converted(
        self, filter_name: str, document: str, prompt: str, scores: dict[str, float | None]
    ) -> bytes:
        mapped = self._task.map
        # Some data sets contain a document twice: each occurrence is a sample.
        self._seen[filter_name, int(document[:16], 16)] += 1
        occurrence = self._seen[filter_name, int(document[:16], 16)]
        name = f"{mapped.task}/{filter_name}/{document}"
        row = {
            "id": name if occurrence == 1 else f"{name}#{occurrence}",
            "persona": mapped.persona,
            "locale": mapped.locale,
            "prompt_sha256": prompt,
            "scores": scores,
        }
        return json.dumps(row).encode() + b"\n"

    def _file_faults(self) -> Iterator[Fault]:
        task = quoted(self._task.map.task)
        if self._hasher.hexdigest() != self._task.samples_hash:
            message = f"The samples of {task} are not those of the results: their hash differs."
            yield Fault("other-samples", f"{message} Send both files of one run, unchanged.")
            return
        for key, values in self._values.items():
            filter_name = key.partition(",")[2]
            rows, effective = self._rows[filter_name], self._task.effective
            if rows > effective:
                message = f"{task} has {rows} rows of {quoted(filter_name)}, and the results say "
                yield Fault("disagrees", f"{message}that {effective} samples were evaluated.")
            reported = self._task.reported.get(key, math.nan)
            if math.isnan(reported) and (self._unscored[key] or not rows):
                continue
            mean = exact_mean(values) if values else math.nan
            if not agrees(reported, mean):
                message = f"{quoted(key)} of {task} is reported as {reported:g}, and the samples' "
                yield Fault("disagrees", f"{message}mean is {mean:g}; only means can be imported.")

    def _partial_reasons(self) -> Iterator[str]:
        task = quoted(self._task.map.task)
        for filter_name in self._metrics:
            rows = self._rows[filter_name]
            if rows < self._task.effective:
                measured = f"{rows} of {self._task.effective} samples"
                yield f"{task}: {measured} have {quoted(filter_name)}."
        for key, unscored in self._unscored.items():
            rows = self._rows[key.partition(",")[2]]
            yield f"{task}: {unscored} of {rows} samples have no {quoted(key)}."

    def _fault(self, code: str, message: str) -> None:
        place = f"Samples of {quoted(self._task.map.task)}, line {self._number}: "
        self.faults.append(Fault(code, f"{place}{message}"))
