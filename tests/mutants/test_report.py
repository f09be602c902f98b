"""The report: each survivor with its difference, its sentence and the entry that accepts it."""

from tools.mutants.accepted import Accepted
from tools.mutants.jobs import Status
from tools.mutants.operators import mutations_of
from tools.mutants.report import difference, report
from tools.mutants.stages import Verdict

CODE = "class A:\n    def f(self, now):\n        if self.until > now:\n            raise E\n"
TEXTS = {"app/a.py": CODE}
MUTATIONS = {each.operator: each for each in mutations_of("app/a.py", CODE)}
BOUNDARY, GUARD = MUTATIONS["time-boundary"], MUTATIONS["guard-never-raises"]


def lines(*verdicts, stale=()):
    return "\n".join(report(verdicts, TEXTS, stale))


def test_a_survivor_is_shown_with_all_that_closes_it():
    assert lines(Verdict(BOUNDARY, Status.SURVIVED)).startswith(
        "survived: app/a.py:3 time-boundary\n"
        "  -if self.until > now:\n"
        "  +if self.until >= now:\n"
        "  No test proves: `A.f` decides the case `self.until == now`.\n"
        "  Write that test, or accept the change with a reason in tests/mutants/accepted.txt:\n"
        "    app/a.py :: A.f :: time-boundary\n"
        "        self.until > now\n"
        "        REASON\n"
    )


def test_killed_mutations_are_only_counted():
    found = lines(Verdict(GUARD, Status.KILLED, "tests/test_a.py::test"))
    assert "test_a" not in found
    assert found.endswith("1 mutations: 0 survived, 1 killed, 0 timed out, 0 broken.")


def test_a_test_that_noticed_by_chance_is_named():
    found = lines(Verdict(GUARD, Status.SURVIVED, "tests/test_race.py::test", by_chance=True))
    assert "tests/test_race.py::test noticed it once, but not each time." in found


def test_mutations_that_timed_out_and_stale_entries_are_reported_apart():
    found = lines(
        Verdict(GUARD, Status.TIMED_OUT, "tests/test_a.py::test"),
        stale=[Accepted(BOUNDARY.identity, "A reason.")],
    )
    assert "timed out: app/a.py:3 guard-never-raises: if self.until > now" in found
    assert "Noticed: tests/test_a.py::test did not end, so the suite would not either." in found
    assert "stale: no code has the accepted change app/a.py :: A.f :: time-boundary" in found


def test_the_table_counts_by_family():
    found = lines(Verdict(GUARD, Status.KILLED), Verdict(BOUNDARY, Status.SURVIVED))
    assert "guards          1 tried    0 survived" in found
    assert "times           1 tried    1 survived" in found


def test_a_difference_of_several_lines_keeps_its_indentation():
    code = "def f():\n    g(\n        1,\n    )\n"
    (deleted,) = [m for m in mutations_of("app/a.py", code) if m.operator == "call-deleted"]
    assert difference(code, deleted) == ["-g(", "-    1,", "-)", "+pass"]
