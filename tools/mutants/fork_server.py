"""Runs tests against mutations in forked children: neither Python nor the stores start again.

The parent imports third-party libraries only. A child imports the application from a copy of the
repository that holds the mutation, so that what runs at import has it too.
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from tools.mutants.child import run_and_exit
from tools.mutants.jobs import Job, Outcome, Status
from tools.mutants.tree import Tree

_NOT_COLLECTED: Final = 5
_PASSED: Final = 0
_FAILED: Final = 1
_CLEARING_UP_S: Final = 15.0


@dataclass(slots=True)
class _Child:
    job: Job
    tree: Tree
    pid: int
    pipe: int
    folder: Path
    begun: float
    mutation: ExitStack
    deadline: float
    unread: bytes = b""
    messages: list[dict[str, Any]] = field(default_factory=list)


class ForkServer:
    """Runs jobs, as many at a time as there are copies of the repository; `root` is one copy."""

    def __init__(self, trees: Sequence[Tree], folder: Path, environment: Mapping[str, str]) -> None:
        self.root = trees[0].root
        self._trees = list(trees)
        self._folder = folder
        self._environment = environment
        self._numbers = count(1)
        self._selector = selectors.DefaultSelector()

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its outcome, as they end."""
        waiting, free = iter(jobs), list(self._trees)
        running: list[_Child] = []
        try:
            while True:
                while free and (job := next(waiting, None)) is not None:
                    running.append(self._start(job, free.pop()))
                if not running:
                    return
                ended = self._wait(running)
                running.remove(ended)
                outcome = self._reap(ended)
                free.append(ended.tree)
                self._preload(outcome.modules)
                yield ended.job, outcome
        finally:
            for child in running:
                self._reap(child)

    def run_one(self, job: Job) -> Outcome:
        return next(outcome for _, outcome in self.run([job]))

    def _start(self, job: Job, tree: Tree) -> _Child:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        mutation = ExitStack()
        mutation.enter_context(tree.mutated(job.mutations))
        ours, theirs = os.pipe()
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            run_and_exit(job, tree, theirs, folder, self._environment)
        os.close(theirs)
        self._selector.register(ours, selectors.EVENT_READ)
        now = time.monotonic()
        return _Child(job, tree, pid, ours, folder, now, mutation, now + job.timeout_s)

    def _wait(self, running: Sequence[_Child]) -> _Child:
        """Return a child whose pipe has ended, or that has used up its time."""
        by_pipe = {child.pipe: child for child in running}
        while True:
            first = min(running, key=lambda child: child.deadline)
            for key, _ in self._selector.select(max(0.0, first.deadline - time.monotonic())):
                if not _read(by_pipe[key.fd]):
                    return by_pipe[key.fd]
            if time.monotonic() >= first.deadline:
                return first

    def _reap(self, child: _Child) -> Outcome:
        self._selector.unregister(child.pipe)
        os.close(child.pipe)
        # The child leads a group of its own, in which the servers of tests are too.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        _, _, used = os.wait4(child.pid, 0)
        child.mutation.close()
        outcome = _outcome_of(child)
        outcome.cpu_s = used.ru_utime + used.ru_stime
        shutil.rmtree(child.folder, ignore_errors=True)
        return outcome

    def _preload(self, modules: Sequence[str]) -> None:
        """Import libraries that a child imported, so that later children have them."""
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the tests set it, before torch
        for name in modules:
            if name not in sys.modules:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)


def _read(child: _Child) -> bool:
    """Take the child's messages; return False after the last, or when it is gone.

    After a failure that stops the child, only its clearing up is left, which may not take long.
    """
    received = os.read(child.pipe, 1 << 16)
    *lines, child.unread = (child.unread + received).split(b"\n")
    messages = [json.loads(line) for line in lines]
    child.messages += messages
    if child.job.stops_at_first and any("failed" in each for each in messages):
        child.deadline = min(child.deadline, time.monotonic() + _CLEARING_UP_S)
    return bool(received) and not any("ended" in each for each in messages)


def _outcome_of(child: _Child) -> Outcome:
    outcome = Outcome(wall_s=time.monotonic() - child.begun)
    ended = None
    for message in child.messages:
        outcome.last = message.get("began", outcome.last)
        outcome.passed += "passed" in message
        if "took" in message:
            outcome.took_s[message["test"].split("::")[0]] += message["took"]
        outcome.failed += [message["failed"]] if "failed" in message else []
        outcome.modules = message.get("modules", outcome.modules)
        ended = message.get("ended", ended)
    log = child.folder / "output"
    outcome.output = log.read_text(errors="replace")[-4000:] if log.exists() else ""
    # After errors in collecting, or of its own, pytest has run no test or not all.
    outcome.is_complete = ended in {_PASSED, _FAILED}
    outcome.status = _status(child, outcome, ended)
    return outcome


def _status(child: _Child, outcome: Outcome, ended: int | None) -> Status:
    if ended is None and outcome.wall_s >= child.job.timeout_s:
        return Status.TIMED_OUT
    if outcome.failed or (ended is not None and _FAILED <= ended < _NOT_COLLECTED):
        return Status.KILLED
    if ended == _PASSED:
        return Status.SURVIVED
    # A test that ends its own process has noticed the mutation.
    return Status.KILLED if ended is None and outcome.last else Status.BROKEN
