"""End to end on a tiny application: mutations are killed, survive, hang, or are accepted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = '''\
"""A tiny module with one guard that is tested, and one that is not."""


def half(number):
    if number < 0:
        raise ValueError(number)
    if number % 2:
        raise TypeError(number)
    return number // 2
'''
TESTS = """\
import os
import time

import pytest

from app import small


def test_a_half():
    assert [small.half(4), small.half(0)] == [2, 0]


def test_an_odd_number_has_none():
    with pytest.raises(TypeError):
        small.half(3)


def sleeps():
    time.sleep(60)


def dies():
    os._exit(1)
"""
SURVIVOR = (
    "app/small.py :: half :: guard-never-raises\n    if number < 0\n    It is planted here.\n"
)
TRY = """
import sys
from pathlib import Path
from tools.mutants.__main__ import main
sys.exit(main(sys.argv[2:], root=Path(sys.argv[1])))
"""
RUN = """
import json, sys
from pathlib import Path
from tools.mutants.fork_server import ForkServer
from tools.mutants.jobs import Job
from tools.mutants.tree import Tree
root, runs = map(Path, sys.argv[1:3])
server = ForkServer([Tree(root)], runs, {})
jobs = [Job((), (test,), timeout_s=float(limit)) for test, limit in json.loads(sys.argv[3])]
for job, outcome in server.run(jobs):
    took = [file for file, seconds in outcome.took_s.items() if seconds > 0]
    facts = [outcome.status, outcome.passed, outcome.last, took, outcome.is_complete]
    print(json.dumps([job.tests[0], *facts]))
"""


@pytest.fixture
def tiny(tmp_path):
    """A repository with one module and its tests."""
    files = {
        "app/__init__.py": "",
        "app/small.py": MODULE,
        "tests/test_small.py": TESTS,
        "tests/mutants/nearest.toml": "slow = []\nraces = []\n[modules]\n",
        "tests/mutants/accepted.txt": "",
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def tried(root, *, accepted="", seed="1"):
    """Try every mutation of the tiny application."""
    (root / "tests" / "mutants" / "accepted.txt").write_text(accepted)
    command = [sys.executable, "-c", TRY, str(root), "--seed", seed, "--count", "50"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_planted_survivor_is_reported_and_the_others_are_killed(tiny):
    ended = tried(tiny)
    assert ended.returncode == 1, ended.stderr
    assert "survived: app/small.py:5 guard-never-raises\n  -if number < 0:\n" in ended.stdout
    assert "`half` raises ValueError if `number < 0`." in ended.stdout
    # One mutation a line: both guards, and the result.
    assert "3 mutations: 1 survived, 2 killed, 0 timed out, 0 broken." in ended.stdout
    assert (tiny / "app" / "small.py").read_text() == MODULE


def test_an_accepted_survivor_is_no_failure(tiny):
    ended = tried(tiny, accepted=SURVIVOR)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_stale_entry_is_a_failure(tiny):
    ended = tried(tiny, accepted=f"{SURVIVOR}\n{SURVIVOR.replace('< 0', '< 1')}")
    assert ended.returncode == 1
    assert "stale: no code has the accepted change" in ended.stdout


def test_tests_that_fail_by_themselves_are_named(tiny):
    (tiny / "tests" / "test_small.py").write_text("def test_nothing():\n    assert False\n")
    ended = tried(tiny)
    assert ended.returncode == 1
    assert "Without a mutation, tests/test_small.py::test_nothing ended as killed" in ended.stderr


def outcomes(root, *jobs):
    runs = root / "runs"
    runs.mkdir()
    command = [sys.executable, "-c", RUN, str(root), str(runs), json.dumps(jobs)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_tests_that_hang_or_end_their_process_do_not_stop_the_server(tiny):
    text = TESTS.replace("def sleeps", "def test_sleeps").replace("def dies", "def test_dies")
    (tiny / "tests" / "test_small.py").write_text(text)
    hanging, dying, passing, missing = (
        f"tests/test_small.py::test_{name}" for name in ("sleeps", "dies", "a_half", "missing")
    )
    jobs = [(hanging, 10), (dying, 30), (passing, 30), (missing, 30)]
    assert outcomes(tiny, *jobs) == [
        [hanging, "timed out", 0, hanging, ["tests/test_small.py"], False],
        [dying, "killed", 0, dying, ["tests/test_small.py"], False],
        [passing, "survived", 1, passing, ["tests/test_small.py"], True],
        [missing, "killed", 0, "", [], False],
    ]
