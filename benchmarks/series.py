"""Measurements: series of values, taken in turn, and the report's sections."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from benchmarks.driver import BenchmarkError

NOISY_LOAD: Final = 2.0

Unit = Literal["req/s", "ms", "s", "MB/s", "MiB", "processes", "statements", "rows/s"]
_MORE_IS_BETTER: Final = frozenset({"req/s", "MB/s", "rows/s"})


@dataclass(frozen=True, slots=True)
class Series:
    """Repeated measurements of one operation of one system."""

    operation: str
    system: str
    unit: Unit
    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def times_better(self, reference: "Series") -> float:
        """Return the ratio of the medians; 2 means twice as good as the reference."""
        if self.unit in _MORE_IS_BETTER:
            return self.median / reference.median
        return reference.median / self.median


@dataclass(slots=True)
class Section:
    """One table of the results. `reference` is the system that the others are compared with."""

    name: str
    title: str
    note: str
    reference: str = ""
    series: list[Series] = field(default_factory=list)
    load_before: float = 0.0
    load_after: float = 0.0
    text: str = ""  # Markdown below the table
    problems: list[str] = field(default_factory=list)  # reasons for the whole run to fail

    @property
    def noisy(self) -> bool:
        return self.load_before > NOISY_LOAD

    def find(self, operation: str, system: str) -> Series | None:
        found = (s for s in self.series if (s.operation, s.system) == (operation, system))
        return next(found, None)

    def add(self, operation: str, system: str, unit: Unit, *values: float) -> None:
        self.series.append(Series(operation, system, unit, values))


@contextmanager
def measuring(section: Section, sections: list[Section]) -> Iterator[None]:
    """Add a section and record the load average; a failure is recorded and does not end the run."""
    section.load_before = load_average()
    start = time.perf_counter()
    sections.append(section)
    try:
        yield
    except (BenchmarkError, OSError) as error:
        section.problems.append(f"{section.title} ended early: {error}")
    section.load_after = load_average()
    print(f"{section.title}: {time.perf_counter() - start:.0f} s.", flush=True)


def load_average() -> float:
    return os.getloadavg()[0]


def timed(run: Callable[[], object]) -> float:
    """Return the duration of `run` in seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def interleaved(rounds: int, measured: Mapping[str, Callable[[], Any]]) -> dict[str, list[Any]]:
    """Run each function once a round; return the results of each.

    The order in turn spreads other load on the machine evenly over the functions.
    """
    found: dict[str, list[Any]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, run in measured.items():
            found[name].append(run())
    return found
