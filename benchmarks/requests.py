"""Small requests under load: resolving a channel, and reading a page of versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from benchmarks.driver import BenchmarkError, Client, Load, Request
from benchmarks.series import Section, interleaved


class Resolves(Protocol):
    """A server that is asked what is live."""

    name: str

    @property
    def reader(self) -> Client: ...
    @property
    def resolving(self) -> Request: ...


class Lists(Protocol):
    """A server that is asked which versions there are."""

    name: str

    @property
    def lister(self) -> Client: ...
    @property
    def listing(self) -> Request: ...


@dataclass(frozen=True, slots=True)
class Measure:
    """Measures for some seconds, some times, in turn."""

    section: Section
    rounds: int
    seconds: float

    def resolve(self, systems: Sequence[Resolves], connections: int) -> None:
        """Ask which version is live."""
        asked = {each.name: (each.reader, each.resolving) for each in systems}
        self._measure(f"resolve, {connections} conn.", asked, connections)

    def pages(self, systems: Sequence[Lists], connections: int) -> None:
        """Read the first page of fifty versions."""
        asked = {each.name: (each.lister, each.listing) for each in systems}
        self._measure(f"list 50 versions, {connections} conn.", asked, connections)

    def _measure(
        self, operation: str, asked: Mapping[str, tuple[Client, Request]], connections: int
    ) -> None:
        for client, request in asked.values():
            client.load(request, connections=connections, seconds=self.seconds / 4)  # warms up
        runs = {
            name: partial(client.load, request, connections=connections, seconds=self.seconds)
            for name, (client, request) in asked.items()
        }
        for name, loads in interleaved(self.rounds, runs).items():
            self._add(operation, name, loads)

    def _add(self, operation: str, name: str, loads: Sequence[Load]) -> None:
        if failures := sum(load.failures for load in loads):
            raise BenchmarkError(f"{name} failed {failures} times: {operation}")
        add = self.section.add
        add(operation, name, "req/s", *(load.rate for load in loads))
        add(f"{operation}, p50", name, "ms", *(load.quantile_ms(0.5) for load in loads))
        add(f"{operation}, p99", name, "ms", *(load.quantile_ms(0.99) for load in loads))
