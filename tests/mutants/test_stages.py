"""The two stages, on a server whose tests notice what a table says."""

from collections import Counter

import pytest

from tools.mutants.jobs import Outcome, Status
from tools.mutants.operators import mutations_of
from tools.mutants.stages import NotCleanError, batches, first_stage, second_stage

CODE = "".join(f"def f{n}(a):\n    return a < {n}\n" for n in range(8))
MUTATIONS = [each for each in mutations_of("app/a.py", CODE) if each.operator == "boundary"]
RACE = "tests/test_race.py"


class Notices:
    """Stands for the fork server: which mutations each test notices, and what it was asked."""

    def __init__(self, **noticed):
        self.noticed = {f"tests/{name}.py::test": found for name, found in noticed.items()}
        self.dirty = set()
        self.hangs_with = set()
        self.ends_with_more_than = len(MUTATIONS)
        self.chances = []
        self.took_s = {}
        self.jobs = []

    def run(self, jobs):
        for job in jobs:
            yield job, self.run_one(job)

    def run_one(self, job):
        self.jobs.append(job)
        if set(job.mutations) & self.hangs_with:
            last = "tests/hang.py::test"
            return Outcome(Status.TIMED_OUT, last=last, is_complete=False)
        if len(job.mutations) > self.ends_with_more_than:
            return Outcome(Status.KILLED, is_complete=False)
        failed = [
            test
            for test, found in self.noticed.items()
            if test.startswith(job.tests)
            and (set(job.mutations) & set(found) or test in self.dirty)
        ]
        if job.mutations and job.tests == (f"{RACE}::test",) and self.chances:
            failed = [f"{RACE}::test"] if self.chances.pop(0) else []
        if job.stops_at_first:
            failed = failed[:1]
        status = Status.KILLED if failed else Status.SURVIVED
        return Outcome(status, failed=failed, took_s=Counter(self.took_s))


def first(server, tests="tests/near.py", races=()):
    selections = dict.fromkeys(MUTATIONS[:2], (tests,))
    verdicts = first_stage(server, selections, races, say=lambda _: None)
    return {verdict.mutation: verdict for verdict in verdicts}


def second(server, survivors=MUTATIONS, races=()):
    broad = ("tests/",)
    verdicts = second_stage(server, survivors, broad, races, say=lambda _: None)
    return {verdict.mutation: verdict for verdict in verdicts}


def test_a_mutation_that_a_nearest_test_notices_is_killed_by_it():
    found = first(Notices(near=[MUTATIONS[0]]))
    assert found[MUTATIONS[0]].status is Status.KILLED
    assert found[MUTATIONS[0]].by == "tests/near.py::test"
    assert found[MUTATIONS[1]].status is Status.SURVIVED


def test_each_file_of_tests_runs_once_without_a_mutation():
    server = Notices(near=[])
    selections = {MUTATIONS[0]: ("tests/a.py", "tests/b.py"), MUTATIONS[1]: ("tests/b.py",)}
    list(first_stage(server, selections, (), say=lambda _: None))
    clean, *others = server.jobs
    assert (clean.mutations, clean.tests) == ((), ("tests/a.py", "tests/b.py"))
    assert [len(job.mutations) for job in others] == [1, 1]


def test_a_mutation_may_take_as_long_as_its_own_tests_and_more():
    server = Notices()
    server.took_s = {"tests/a.py": 100.0, "tests/b.py": 1.0}
    selections = {MUTATIONS[0]: ("tests/a.py", "tests/b.py"), MUTATIONS[1]: ("tests/b.py",)}
    list(first_stage(server, selections, (), say=lambda _: None))
    assert [job.timeout_s for job in server.jobs[1:]] == [45 + 6 * 101, 45 + 6]


def test_no_mutation_needs_no_test():
    server = Notices()
    assert first_stage(server, {}, (), say=lambda _: None) == []
    assert server.jobs == []


def test_tests_that_fail_without_a_mutation_tell_nothing():
    server = Notices(near=[])
    server.dirty = {"tests/near.py::test"}
    with pytest.raises(NotCleanError, match=r"tests/near\.py"):
        first(server)


def test_a_mutation_that_never_ends_is_timed_out():
    server = Notices(near=[])
    server.hangs_with = {MUTATIONS[0]}
    assert first(server)[MUTATIONS[0]].status is Status.TIMED_OUT


@pytest.mark.parametrize(
    ("again", "status"),
    [([True, True], Status.KILLED), ([True, False], Status.SURVIVED)],
    ids=["each-time", "by-chance"],
)
def test_a_race_kills_only_what_it_notices_each_time(again, status):
    server = Notices()
    server.noticed = {f"{RACE}::test": [MUTATIONS[0]]}
    server.chances = again
    verdict = first(server, RACE, races=(RACE,))[MUTATIONS[0]]
    assert (verdict.status, verdict.by_chance) == (status, status is Status.SURVIVED)


def test_the_broad_suite_runs_once_with_all_survivors_if_it_notices_none():
    server = Notices(far=[])
    found = second(server)
    assert {verdict.status for verdict in found.values()} == {Status.SURVIVED}
    assert [len(job.mutations) for job in server.jobs] == [len(MUTATIONS)]


def test_each_failure_of_the_broad_suite_is_attributed():
    server = Notices(far=[MUTATIONS[2]], farther=[MUTATIONS[2], MUTATIONS[5]], farthest=[])
    found = second(server)
    killed = {m: v.by for m, v in found.items() if v.status is Status.KILLED}
    assert killed == {
        MUTATIONS[2]: "tests/far.py::test",
        MUTATIONS[5]: "tests/farther.py::test",
    }


def test_a_broad_test_that_fails_without_a_mutation_kills_nothing():
    server = Notices(far=[MUTATIONS[2]], dirty=[])
    server.dirty = {"tests/dirty.py::test"}
    killed = [m for m, v in second(server).items() if v.status is Status.KILLED]
    assert killed == [MUTATIONS[2]]


def test_a_mutation_that_makes_the_broad_suite_hang_is_found():
    server = Notices(hang=[])
    server.hangs_with = {MUTATIONS[3]}
    timed_out = [m for m, v in second(server).items() if v.status is Status.TIMED_OUT]
    assert timed_out == [MUTATIONS[3]]


def test_a_mutation_that_makes_the_broad_suite_hang_hides_no_other():
    server = Notices(hang=[], zzz_after=[MUTATIONS[5]])
    server.hangs_with = {MUTATIONS[3]}
    found = {m: v.status for m, v in second(server).items() if v.status is not Status.SURVIVED}
    assert found == {MUTATIONS[3]: Status.TIMED_OUT, MUTATIONS[5]: Status.KILLED}


@pytest.mark.parametrize("count", [1, 5, 8])
def test_mutations_that_end_the_broad_suite_together_are_tried_in_halves(count):
    server = Notices(far=[MUTATIONS[0]])
    server.ends_with_more_than = 2
    killed = [m for m, v in second(server, MUTATIONS[:count]).items() if v.status is Status.KILLED]
    assert killed == [MUTATIONS[0]]


def test_no_survivor_needs_no_broad_suite():
    server = Notices()
    assert second(server, survivors=[]) == {}
    assert server.jobs == []


def test_mutations_of_the_same_text_are_tried_in_different_batches():
    code = "a = b < c and d\n"
    found = list(mutations_of("app/a.py", code))
    grouped = batches(found)
    assert sorted(each.key for group in grouped for each in group) == sorted(m.key for m in found)
    for group in grouped:
        edits = [each.edit for each in group]
        assert not any(a.overlaps(b) for a in edits for b in edits if a is not b)
