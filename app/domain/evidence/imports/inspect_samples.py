"""The samples of an Inspect log, converted to one row each, with their epochs averaged."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from app.domain.errors import Fault
from app.domain.evidence.evaluation import exact_mean
from app.domain.evidence.imports.documents import InvalidScoreError, count, member, score
from app.domain.evidence.imports.inspect_log import Header, LogMap, Source
from app.domain.evidence.rows import FAULT_LIMIT
from app.domain.evidence.samples import agrees
from app.domain.strict_json import quoted


@dataclass(slots=True)
class _Sample:
    """One sample over its epochs: `scores` lists, by scorer, its score in each epoch.

    `flawed` lists the scorers without a valid score in each epoch.
    """

    persona: str
    locale: str
    prompts: set[str] = field(default_factory=set)
    epochs: set[int] = field(default_factory=set)
    scores: dict[str, list[float]] = field(default_factory=dict)
    flawed: set[str] = field(default_factory=set)

    @property
    def prompt(self) -> str:
        """The digest of the prompt; if epochs had different prompts, the digest of them all."""
        return next(iter(self.prompts)) if len(self.prompts) == 1 else _digest(sorted(self.prompts))


class LogSamples:
    """Reads samples in any order; memory grows with their number, not with their text.

    On a `sealed` suite a score counts only if the sample ended by itself in each epoch: otherwise
    an evaluator could choose the epochs and samples that went well.
    """

    def __init__(self, header: Header, mapped: LogMap, *, sealed: bool = False) -> None:
        self._sealed = sealed
        self._header = header
        self._map = mapped
        self._samples: dict[str, _Sample] = {}
        self._taken = 0
        self._flags: Counter[str] = Counter()
        self._unscored: Counter[str] = Counter()
        self.faults: list[Fault] = []

    @property
    def has_too_many_faults(self) -> bool:
        """Whether there are so many faults that reading on is pointless."""
        return len(self.faults) >= FAULT_LIMIT

    def take(self, document: Mapping[str, object], place: str) -> None:
        """Add one epoch of a sample; `place` is its position in the log."""
        self._taken += 1
        name, epoch = document.get("id"), count(document.get("epoch"))
        if isinstance(name, bool) or not isinstance(name, str | int) or name == "" or not epoch:
            self._fault("sample-id", place, "its id or its epoch is missing.")
            return
        persona = self._mapped(document, self._map.persona, "persona", place)
        locale = self._mapped(document, self._map.locale, "locale", place)
        if persona is None or locale is None:
            return
        sample = self._samples.setdefault(str(name), _Sample(persona, locale))
        if epoch in sample.epochs:
            self._fault("duplicate-sample", place, f"its epoch {epoch} occurs twice.")
        elif (sample.persona, sample.locale) != (persona, locale):
            self._fault("epochs-differ", place, "its epochs differ in persona or locale.")
        sample.epochs.add(epoch)
        sample.prompts.add(_prompt_digest(document))
        self._add(sample, document, place)

    def finish(self) -> list[str]:
        """Add the faults of the log as a whole; return the reasons why the run is partial."""
        if not self.faults:
            self.faults += self._log_faults()
        return list(self._partial_reasons())

    def rows(self) -> Iterator[bytes]:
        """Yield a row for each sample, with its epochs reduced to their mean."""
        wanted = self._epochs()
        for name, sample in self._samples.items():
            scores: dict[str, float | None] = {}
            for scorer, metric in self._map.metrics.items():
                values = sample.scores.get(scorer)
                counts = values and not (self._sealed and _is_flawed(sample, scorer, wanted))
                scores[metric] = exact_mean(values) if values and counts else None
            row = {
                "id": f"{self._header.task}/{name}",
                "persona": sample.persona,
                "locale": sample.locale,
                "prompt_sha256": sample.prompt,
                "scores": scores,
            }
            yield json.dumps(row).encode() + b"\n"

    def _epochs(self) -> int:
        """Return how often each sample should have been run: at least as often as another was."""
        most = max((len(each.epochs) for each in self._samples.values()), default=0)
        return max(self._header.epochs, most)

    def _mapped(
        self, document: Mapping[str, object], source: Source, kind: str, place: str
    ) -> str | None:
        if source.metadata is None:
            return source.value
        found = member(document, "metadata").get(source.metadata)
        if isinstance(found, str):
            return found
        self._fault(f"no-{kind}", place, f"its metadata has no string {quoted(source.metadata)}.")
        return None

    def _add(self, sample: _Sample, document: Mapping[str, object], place: str) -> None:
        scores = member(document, "scores")
        flags = {
            "ended in an error": document.get("error") is not None,
            "were cut off at a limit": document.get("limit") is not None,
            "were invalidated": document.get("invalidation") is not None,
        }
        self._flags.update(flags)
        if any(flags.values()):
            sample.flawed.update(self._map.metrics)
        for scorer in self._map.metrics:
            found = member(scores, scorer)
            if _is_edited(found):
                self._flags[f"had their {quoted(scorer)} edited after the run"] += 1
                sample.flawed.add(scorer)
            if not found:
                self._unscored[scorer] += 1
                sample.flawed.add(scorer)
                continue
            try:
                value = score(found.get("value"), marks=True)
            except InvalidScoreError as error:
                message = (
                    f"its {quoted(scorer)} is {error}; only numbers and C, I, P, N are scores."
                )
                self._fault("not-a-number", place, message)
                continue
            if value is None:
                self._unscored[scorer] += 1
                sample.flawed.add(scorer)
            else:
                sample.scores.setdefault(scorer, []).append(value)

    def _log_faults(self) -> Iterator[Fault]:
        if self._taken < self._header.completed:
            message = f"The log has {self._taken} samples, and says that {self._header.completed} "
            yield Fault("disagrees", f"{message}were completed; log all samples.")
        for scorer in self._map.metrics:
            scored, means = self._header.reported.get(scorer, (None, ()))
            reduced = [
                exact_mean(s.scores[scorer]) for s in self._samples.values() if scorer in s.scores
            ]
            if scored is not None and scored != len(reduced):
                message = f"{quoted(scorer)} is said to score {scored} samples, and {len(reduced)} "
                yield Fault("disagrees", f"{message}samples have it.")
            mean = exact_mean(reduced) if reduced else math.nan
            for reported in means:
                if reduced and not agrees(reported, mean):
                    message = f"The mean of {quoted(scorer)} is reported as {reported:g}, and the "
                    yield Fault("disagrees", f"{message}samples give {mean:g}.")

    def _partial_reasons(self) -> Iterator[str]:
        for flag, times in self._flags.items():
            if times:
                yield f"{times} of {self._taken} samples {flag}."
        for scorer, times in self._unscored.items():
            yield f"{times} of {self._taken} samples have no {quoted(scorer)}."
        expected = self._header.sample_ids
        if expected is not None and (absent := len(expected - self._samples.keys())):
            yield f"{absent} of the run's samples are not in the log."
        wanted = self._epochs()
        if fewer := sum(len(sample.epochs) < wanted for sample in self._samples.values()):
            yield f"{fewer} samples ran for fewer than {wanted} epochs."

    def _fault(self, code: str, place: str, message: str) -> None:
        self.faults.append(Fault(code, f"{quoted(place)}: {message}"))


def _is_flawed(sample: _Sample, scorer: str, epochs: int) -> bool:
    return scorer in sample.flawed or len(sample.epochs) < epochs


def _is_edited(found: Mapping[str, object]) -> bool:
    """Return whether a score was edited; entries that the run itself wrote have no provenance."""
    history = found.get("history")
    return isinstance(history, list) and any(
        not isinstance(edit, dict) or edit.get("provenance") is not None for edit in history
    )


def _prompt_digest(document: Mapping[str, object]) -> str:
    """Return the digest of the prompt: the input, and all messages before the first reply.

    Messages have ids that differ in every run, so only their roles and contents count.
    """
    messages = document.get("messages")
    leading: list[object] = []
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict) and message.get("role") == "assistant":
            break
        leading.append(_role_and_content(message))
    given = document.get("input")
    turns = [_role_and_content(message) for message in given] if isinstance(given, list) else given
    return _digest([turns, document.get("choices"), leading])


def _role_and_content(message: object) -> object:
    if not isinstance(message, dict):
        return message
    return [message.get("role"), message.get("content")]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
