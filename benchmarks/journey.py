"""Governance: recording results, releasing a version, and the whole journey from push to pull."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from benchmarks.artifacts import Artifact, an_artifact
from benchmarks.registry import SMALL_MB
from benchmarks.series import Section, interleaved, timed

JOURNEY_MB = 10


class Governs(Protocol):
    """A server that stores, evaluates and releases versions."""

    name: str

    def push(self, artifact: Artifact) -> dict[str, Any]: ...
    def record(self, version: dict[str, Any]) -> None: ...
    def release(self, version: dict[str, Any]) -> None: ...
    def journey(self, artifact: Artifact) -> None: ...


def journeys(section: Section, systems: Sequence[Governs], *, rounds: int) -> None:
    """Measure each step alone, then the whole journey."""
    pushed = {each.name: each.push(an_artifact(SMALL_MB)) for each in systems}
    steps: dict[str, Callable[[Governs], Callable[[], float]]] = {
        "record 40 results": lambda each: lambda: timed(lambda: each.record(pushed[each.name])),
        "release": lambda each: lambda: _released(each),
        "whole journey, 10 MB": lambda each: lambda: _whole_journey(each),
    }
    for operation, step in steps.items():
        found = interleaved(rounds, {each.name: step(each) for each in systems})
        for name, seconds in found.items():
            section.add(operation, name, "ms", *(1000 * value for value in seconds))


def _released(system: Governs) -> float:
    version = system.push(an_artifact(SMALL_MB))
    system.record(version)
    return timed(lambda: system.release(version))


def _whole_journey(system: Governs) -> float:
    artifact = an_artifact(JOURNEY_MB)  # not part of the measured time
    return timed(lambda: system.journey(artifact))
