"""The model and adapter that a tool's log names itself, compared with the artifact evaluated."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from app.domain.errors import Fault
from app.domain.naming import PrefixName
from app.domain.strict_json import quoted

# Models that tools bring along for tests; they answer without being asked.
_MOCKS: Final = ("dummy", "mockllm")
_LOCAL_PATH: Final = re.compile(r"[./~\\].*|[A-Za-z]:.*|.*[/\\].*[/\\].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Measured:
    """The words of a log about the model that it ran.

    Attributes:
        engine: The tool's kind of model, such as `hf`.
        model: The name of the base model or of the whole model; None if there is none.
        adapter: The name of the adapter; None if there is none.
        names_adapters: Whether the tool would name an adapter if there were one.
    """

    engine: str
    model: str | None = None
    adapter: str | None = None
    names_adapters: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """The artifact that a report is about; without a prefix, a bare base model."""

    base_model: str
    prefix: PrefixName | None = None

    @property
    def adapter_names(self) -> frozenset[str]:
        return frozenset() if self.prefix is None else frozenset({self.prefix.name.casefold()})

    @property
    def model_names(self) -> frozenset[str]:
        return self.adapter_names | {_last(self.base_model)}

    def __str__(self) -> str:
        bare = f"the base model {self.base_model}"
        return bare if self.prefix is None else f"{self.prefix} on {bare}"


def measured_faults(measured: Measured, subject: Subject) -> Iterator[Fault]:
    """Yield a fault for each name in a log that is not that of the artifact evaluated.

    A path says nothing: only the evaluator knows the model at that place.
    """
    if measured.engine in _MOCKS:
        message = f"The log says model {quoted(measured.engine)}, which stands in for a model."
        yield Fault("no-model", message)
        return
    model, adapter = measured.model, measured.adapter
    if model is not None and _names_another(model, subject.model_names):
        yield Fault("another-model", _mismatch("model", model, subject))
    if adapter is not None and (
        subject.prefix is None or _names_another(adapter, subject.adapter_names)
    ):
        yield Fault("another-adapter", _mismatch("adapter", adapter, subject))
    if adapter is None and measured.names_adapters and _is_bare(model, subject):
        message = f"The log says model {quoted(model or '')} without an adapter; the run is of "
        yield Fault("no-adapter", f"{message}the bare base model, not of {subject}.")


def _is_bare(model: str | None, subject: Subject) -> bool:
    if subject.prefix is None or model is None or _LOCAL_PATH.fullmatch(model):
        return False
    return _last(model) == _last(subject.base_model) not in subject.adapter_names


def _names_another(name: str, known: frozenset[str]) -> bool:
    return not _LOCAL_PATH.fullmatch(name) and _last(name) not in known


def _last(name: str) -> str:
    return name.rpartition("/")[2].partition("@")[0].casefold()


def _mismatch(kind: str, name: str, subject: Subject) -> str:
    return (
        f"The log says {kind} {quoted(name)}, and the evaluation is of {subject}. If that is a "
        f"path, let the tool write it as {quoted(f'./{name}')}."
    )
