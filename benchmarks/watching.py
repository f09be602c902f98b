"""A fleet that waits for a channel to change: what that costs, and how soon it learns of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.artifacts import an_artifact
from benchmarks.driver import quantile
from benchmarks.registry import SMALL_MB, Registry
from benchmarks.series import Section, interleaved

WATCHERS: Final = 500


@dataclass(frozen=True, slots=True)
class _Told:
    """What watchers held while they waited, and the times from an approval's request on."""

    mib: float
    acknowledged_ms: float
    answered_ms: Sequence[float]  # one for each watcher


def watching(section: Section, registries: Sequence[Registry], *, rounds: int) -> None:
    """Let a fleet wait while a version is approved, some times, in turn."""
    runs = {each.name: partial(_told, each) for each in registries}
    for name, told in interleaved(rounds, runs).items():
        # Python keeps the memory of a first fleet and gives it to the next.
        section.add("more memory while they wait", name, "MiB", told[0].mib)
        section.add("approval acknowledged", name, "ms", *(each.acknowledged_ms for each in told))
        for those, share in (("half of them", 0.5), ("99 of 100", 0.99), ("all", 1)):
            answered = (quantile(each.answered_ms, share) for each in told)
            section.add(f"{those} told", name, "ms", *answered)
        late = (quantile(each.answered_ms, 0.99) - each.acknowledged_ms for each in told)
        section.add("99 of 100 told, from the acknowledgement on", name, "ms", *late)


def _told(registry: Registry) -> _Told:
    """Have a version approved while all wait; each of them must be answered with a change."""
    version = registry.push(an_artifact(SMALL_MB))
    registry.record(version)
    promotion = registry.request(version)
    at_rest = registry.server.memory_mib()["pss_mib"]

    def approve() -> tuple[float, float, float]:
        waiting = registry.server.memory_mib()["pss_mib"]
        start = time.perf_counter()
        registry.approve(promotion)
        return waiting, start, time.perf_counter()

    (waiting, start, acknowledged), answers = registry.reader.wait_through(
        registry.watching(), approve, connections=WATCHERS
    )
    answered = [1000 * (moment - start) for moment in answers]
    return _Told(waiting - at_rest, 1000 * (acknowledged - start), answered)
