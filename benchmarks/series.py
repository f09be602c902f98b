"""What was measured: series of values, gathered in turn, and the sections that tell of them."""

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
    """One operation of one system, measured some times."""

    operation: str
    system: str
    unit: Unit
    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def times_better(self, reference: "Series") -> float:
        """Return how many times better the median is than the reference's: 2 is twice as good."""
        if self.unit in _MORE_IS_BETTER:
            return self.median / reference.median
        return reference.median / self.median


@dataclass(slots=True)
class Section:
    """One table of the results. `reference` is the system that the others are held against."""

    name: str
    title: str
    note: str
    reference: str = ""
    series: list[Series] = field(default_factory=list)
    load_before: float = 0.0
    load_after: float = 0.0
    text: str = ""  # what the section says beside its table, in Markdown
    problems: list[str] = field(default_factory=list)  # what makes the whole run fail

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
    """Add a section; keep how busy the machine was, and what failed, and go on with the next."""
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
    """Return the seconds that `run` takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def interleaved(rounds: int, measured: Mapping[str, Callable[[], Any]]) -> dict[str, list[Any]]:
    """Run each function once a round, in turn; return what each returned.

    In turn, so that whatever else the machine does falls on all of them alike.
    """
    found: dict[str, list[Any]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, run in measured.items():
            found[name].append(run())
    return found
