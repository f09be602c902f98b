"""The memory of an idle server, and its start-up time."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.processes import Server, free_url, running
from benchmarks.series import Section, interleaved
from demo.server import PROGRAM


class Serves(Protocol):
    """A running server."""

    name: str

    @property
    def server(self) -> Server: ...


def memory(section: Section, systems: Sequence[Serves], moment: str) -> None:
    """Measure the memory of each server's processes, without database and object store."""
    for each in systems:
        held = each.server.memory_mib()
        section.add(f"memory {moment}, proportional", each.name, "MiB", held["pss_mib"])
        section.add(f"memory {moment}, resident", each.name, "MiB", held["rss_mib"])
        section.add(f"processes {moment}", each.name, "processes", held["processes"])


def starts(
    section: Section,
    again: dict[str, Callable[[], AbstractContextManager[Serves]]],
    *,
    rounds: int,
) -> None:
    """Start each server again, on running stores with the data of earlier sections."""
    found = interleaved(rounds, {name: _starting(start) for name, start in again.items()})
    for name, started in found.items():
        section.add("start-up on running stores", name, "s", *(each.ready_s for each in started))
        section.add("memory once ready, proportional", name, "MiB", *(each.mib for each in started))
    section.add("first start with PostgreSQL and S3", "registry, 1 worker", "s", _first_start())


@dataclass(frozen=True, slots=True)
class _Started:
    """The start-up time of a server, and its memory when ready."""

    ready_s: float
    mib: float


def _starting(start: Callable[[], AbstractContextManager[Serves]]) -> Callable[[], _Started]:
    def measured() -> _Started:
        with start() as system:
            return _Started(system.server.ready_s, system.server.memory_mib()["pss_mib"])

    return measured


def _first_start() -> float:
    """Return the seconds of `prefix-registry local` from an empty folder to ready."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's unprivileged user must be able to enter
        url = free_url()
        command = [PROGRAM, "local", "--data", f"{folder}/data", "--port", url.rpartition(":")[2]]
        log = Path(folder, "local.log")
        with running(command, url=url, path="/readyz", log=log, environment={}) as server:
            return server.ready_s
