"""Jobs for the fork server and their outcomes."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from tools.mutants.mutation import Mutation


class Status(StrEnum):
    SURVIVED = "survived"
    KILLED = "killed"
    TIMED_OUT = "timed out"
    BROKEN = "broken"
    """pytest found no tests, or failed by itself: nothing is known about the mutation."""


@dataclass(frozen=True, slots=True)
class Job:
    """Tests to run against mutations that are applied together; none is a clean run."""

    mutations: tuple[Mutation, ...]
    tests: tuple[str, ...]
    timeout_s: float
    stops_at_first: bool = True
    learns_imports: bool = False


@dataclass(slots=True)
class Outcome:
    """How a job ended.

    `failed` are the tests that noticed, `last` the one that ran at the end, and `took_s` how long
    each file of tests ran. A job is incomplete if it ended before its last test.
    """

    status: Status = Status.BROKEN
    failed: list[str] = field(default_factory=list)
    passed: int = 0
    is_complete: bool = True
    took_s: Counter[str] = field(default_factory=Counter)
    last: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    output: str = ""
    modules: list[str] = field(default_factory=list)
