"""Two stages: each mutation against its nearest tests, then the survivors against the rest."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from tools.mutants.jobs import Job, Outcome, Status
from tools.mutants.mutation import Mutation
from tools.mutants.nearest import Selection

_CLEAN_TIMEOUT_S: Final = 1200.0
_LEAST_TIMEOUT_S: Final = 45.0
_TIMEOUT_FACTOR: Final = 6.0
_RERUNS: Final = 2

Say = Callable[[str], None]


class Server(Protocol):
    """Runs jobs; see `ForkServer`."""

    def run(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Outcome]]: ...

    def run_one(self, job: Job) -> Outcome: ...


class NotCleanError(Exception):
    """Tests fail without any mutation, so nothing can be learnt from them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A mutation's fate: `by` is the test that noticed it, or that was running at the end."""

    mutation: Mutation
    status: Status
    by: str = ""
    by_chance: bool = False


def first_stage(
    server: Server, selections: Mapping[Mutation, Selection], races: Selection, say: Say
) -> list[Verdict]:
    """Try each mutation alone against its own selection of tests.

    Raises:
        NotCleanError: Tests fail without a mutation; the message has the end of their output.
    """
    files = tuple(sorted({each for tests in selections.values() for each in tests}))
    clean = _clean(server, files)
    say(f"{len(files)} files of tests pass without a mutation.")
    verdicts = []
    jobs = (
        Job((m,), tests, _limit(sum(clean.took_s[each] for each in tests)))
        for m, tests in selections.items()
    )
    for job, outcome in server.run(jobs):
        verdicts.append(_verdict(server, job, outcome, races))
        if len(verdicts) % 50 == 0:
            say(f"{len(verdicts)} of {len(selections)} tried.")
    return verdicts


def _clean(server: Server, files: Selection) -> Outcome:
    """Run files of tests without a mutation, each once: selections have many in common."""
    if not files:
        return Outcome(Status.SURVIVED)
    job = Job((), files, _CLEAN_TIMEOUT_S, stops_at_first=False, learns_imports=True)
    outcome = server.run_one(job)
    if outcome.status is Status.SURVIVED:
        return outcome
    failed = " ".join(_failed(outcome) or files)
    raise NotCleanError(
        f"Without a mutation, {failed} ended as {outcome.status}:\n{outcome.output}"
    )


def _limit(clean_s: float) -> float:
    """Return how long tests may take with a mutation: a busy machine is not an endless loop."""
    return _LEAST_TIMEOUT_S + _TIMEOUT_FACTOR * clean_s


def _verdict(server: Server, job: Job, outcome: Outcome, races: Selection) -> Verdict:
    (mutation,) = job.mutations
    if outcome.status is not Status.KILLED:
        return Verdict(mutation, outcome.status, outcome.last)
    by = outcome.failed[0] if outcome.failed else outcome.last
    if by.startswith(races):
        again = replace(job, tests=(by,))
        for _ in range(_RERUNS):
            if server.run_one(again).status is Status.SURVIVED:
                return Verdict(mutation, Status.SURVIVED, by, by_chance=True)
    return Verdict(mutation, Status.KILLED, by)


def second_stage(
    server: Server, survivors: Sequence[Mutation], broad: Selection, races: Selection, say: Say
) -> list[Verdict]:
    """Apply all survivors at once, run the broad suite, and find which of them it noticed.

    A mutation that keeps the suite from its end hides what the tests after it notice, so the
    others run again without it.
    """
    found: dict[Mutation, Verdict] = {}
    waiting = batches(survivors)
    while waiting:
        batch = waiting.pop()
        say(f"{len(batch)} survivors together against {len(broad)} files of tests.")
        together = Job(tuple(batch), broad, _CLEAN_TIMEOUT_S, stops_at_first=False)
        outcome = server.run_one(together)
        suspects = _passing_when_clean(server, _failed(outcome))
        noticed = {each.mutation: each for each in _attributed(server, batch, suspects, races)}
        found |= noticed
        if not outcome.is_complete:
            waiting += _without(batch, noticed)
    return [found.get(each, Verdict(each, Status.SURVIVED)) for each in survivors]


def _without(batch: Sequence[Mutation], noticed: Collection[Mutation]) -> list[list[Mutation]]:
    """Return the mutations to run again: those not noticed, or halves if none was."""
    others, middle = [each for each in batch if each not in noticed], len(batch) // 2
    groups = [others] if noticed else [others[:middle], others[middle:]]
    return [group for group in groups if group and len(group) < len(batch)]


def batches(mutations: Sequence[Mutation]) -> list[list[Mutation]]:
    """Return the mutations in groups, in none of which two edits overlap."""
    groups: list[list[Mutation]] = []
    for each in mutations:
        for group in groups:
            if not any(o.path == each.path and o.edit.overlaps(each.edit) for o in group):
                group.append(each)
                break
        else:
            groups.append([each])
    return groups


def _failed(outcome: Outcome) -> Selection:
    """Return the tests that noticed something, and the one that never came to an end."""
    last = [] if outcome.is_complete or not outcome.last else [outcome.last]
    return tuple(dict.fromkeys([*outcome.failed, *last]))


def _passing_when_clean(server: Server, tests: Selection) -> Selection:
    if not tests:
        return ()
    outcome = server.run_one(Job((), tests, _CLEAN_TIMEOUT_S, stops_at_first=False))
    return tuple(each for each in tests if each not in _failed(outcome))


def _attributed(
    server: Server, mutations: Sequence[Mutation], suspects: Selection, races: Selection
) -> Iterator[Verdict]:
    """Yield the mutations that make a test fail by themselves, found by halving."""
    if not suspects:
        return
    job = Job(tuple(mutations), suspects, _limit(len(suspects)), stops_at_first=len(mutations) == 1)
    outcome = server.run_one(job)
    if len(mutations) == 1:
        verdict = _verdict(server, job, outcome, races)
        if verdict.status is not Status.SURVIVED or verdict.by_chance:
            yield verdict
        return
    failed, middle = _failed(outcome), len(mutations) // 2
    if not outcome.is_complete:
        failed = suspects  # the tests after the endless one were not run
    for half in (mutations[:middle], mutations[middle:]):
        yield from _attributed(server, half, failed, races)


def by_status(verdicts: Sequence[Verdict]) -> Mapping[Status, list[Verdict]]:
    """Return the verdicts by what became of the mutation."""
    found: dict[Status, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        found[verdict.status].append(verdict)
    return found
