"""A fleet of waiters on one channel: its memory, and the delay until it has a change."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.artifacts import an_artifact
from benchmarks.driver import quantile
from benchmarks.registry import SMALL_MB, Registry
from benchmarks.series import Section, interleaved

WAITERS: Final = 500


@dataclass(frozen=True, slots=True)
class _Delivery:
    """The memory of a waiting fleet, and the times from the sending of an approval."""

    mib: float
    acknowledged_ms: float
    notified_ms: Sequence[float]  # one for each waiter


def watching(section: Section, registries: Sequence[Registry], *, rounds: int) -> None:
    """Let a fleet wait while a version is approved, in rounds, in turn."""
    runs = {each.name: partial(_delivery, each) for each in registries}
    for name, deliveries in interleaved(rounds, runs).items():
        # Python reuses the memory of the first fleet for the next.
        section.add("more memory while they wait", name, "MiB", deliveries[0].mib)
        acknowledged = (each.acknowledged_ms for each in deliveries)
        section.add("approval acknowledged", name, "ms", *acknowledged)
        for those, share in (("half of them", 0.5), ("99 of 100", 0.99), ("all", 1)):
            notified = (quantile(each.notified_ms, share) for each in deliveries)
            section.add(f"{those} notified", name, "ms", *notified)
        late = (quantile(each.notified_ms, 0.99) - each.acknowledged_ms for each in deliveries)
        section.add("99 of 100 notified, from the acknowledgement", name, "ms", *late)


def _delivery(registry: Registry) -> _Delivery:
    """Approve a version while all clients wait; each of them must receive the change."""
    version = registry.push(an_artifact(SMALL_MB))
    registry.record(version)
    promotion = registry.request(version)
    at_rest = registry.server.memory_mib()["pss_mib"]

    def approve() -> tuple[float, float, float]:
        waiting = registry.server.memory_mib()["pss_mib"]
        start = time.perf_counter()
        registry.approve(promotion)
        return waiting, start, time.perf_counter()

    (waiting, start, acknowledged), moments = registry.reader.wait_through(
        registry.waiting_request(), approve, connections=WAITERS
    )
    notified = [1000 * (moment - start) for moment in moments]
    return _Delivery(waiting - at_rest, 1000 * (acknowledged - start), notified)
