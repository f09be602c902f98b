"""Small requests under load: resolving a channel and listing versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from benchmarks.driver import BenchmarkError, Client, Load, Request
from benchmarks.series import Section, interleaved


class Resolves(Protocol):
    """A server that resolves the live version."""

    name: str

    @property
    def reader(self) -> Client: ...
    @property
    def resolving(self) -> Request: ...


class Lists(Protocol):
    """A server that lists versions."""

    name: str

    @property
    def lister(self) -> Client: ...
    @property
    def listing(self) -> Request: ...


@dataclass(frozen=True, slots=True)
class Measure:
    """Measurement of systems in turn, for `seconds` each, in `rounds`."""

    section: Section
    rounds: int
    seconds: float

    def resolve(self, systems: Sequence[Resolves], connections: int) -> None:
        """Resolve the live version."""
        requests = {each.name: (each.reader, each.resolving) for each in systems}
        self._measure(f"resolve, {connections} conn.", requests, connections)

    def pages(self, systems: Sequence[Lists], connections: int) -> None:
        """List the first page of fifty versions."""
        requests = {each.name: (each.lister, each.listing) for each in systems}
        self._measure(f"list 50 versions, {connections} conn.", requests, connections)

    def _measure(
        self, operation: str, requests: Mapping[str, tuple[Client, Request]], connections: int
    ) -> None:
        for client, request in requests.values():
            client.load(request, connections=connections, seconds=self.seconds / 4)  # warms up
        runs = {
            name: partial(client.load, request, connections=connections, seconds=self.seconds)
            for name, (client, request) in requests.items()
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
