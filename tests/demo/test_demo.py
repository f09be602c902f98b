"""The demo as its reader runs it: one run of `python -m demo`, and what it has to show."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 240  # for a machine that runs the whole suite at the same time


@pytest.fixture(scope="module")
def told(server_folder):
    """What one run prints when nobody watches; it leaves nothing behind."""
    temporary = server_folder / "demo"
    temporary.mkdir(mode=0o711)
    environment = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    ended = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=environment | {"TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    assert ended.stderr == ""
    assert list(temporary.glob("prefix-registry-*")) == []
    return ended.stdout


def test_training_lowers_the_loss_to_less_than_half(told):
    first, last = map(float, re.search(r"loss ([\d.]+) at step 1, ([\d.]+) at step", told).groups())

    assert 0 < last < first / 2


def test_the_gate_names_each_cell_of_the_persona_that_was_not_measured(told):
    assert "REFUSED 409 gate-not-passed" in told
    rows = [line.split() for line in told.splitlines() if " missing " in line]
    assert [row[:3] for row in rows] == [
        ["brand-voice/tone", "upset", "en"],
        ["brand-voice/tone", "upset", "de"],
        ["brand-voice/toxicity", "upset", "en"],
        ["brand-voice/toxicity", "upset", "de"],
    ]
    assert not re.search(r" failed ", told)


def test_the_author_may_not_approve_and_two_others_execute_the_promotion(told):
    steps = (
        "REFUSED 403 separation-of-duties",
        "approver-1 approves; the promotion is pending.",
        "approver-2 approves; the promotion is executed.",
    )
    places = [told.find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)


def test_what_is_pulled_computes_the_logits_that_were_trained(told):
    assert re.search(r"all 720x5x\d+ logits equal the trained model's to the bit", told)


def test_a_damaged_object_is_refused_and_served_again_once_it_is_whole(told):
    refused = told.find("REFUSED 500 damaged-object")

    assert -1 < refused < told.find("With the right bytes back, the pull works again.")


@pytest.mark.parametrize("subject", ["registry", "prefix:acme/brand-voice"])
def test_the_audit_chain_is_valid_and_told_entry_by_entry(told, subject):
    found = re.search(rf"The chain of {subject} is valid: (\d+) entries", told)
    assert found is not None
    timeline = told[found.end() :].partition("The chain of")[0]
    assert len(re.findall(r"^ +\d\d:\d\d:\d\d +\S+ +\S", timeline, re.MULTILINE)) == int(found[1])
    assert int(found[1]) > 10


def test_the_end_says_what_to_do_next(told):
    assert "make serve" in told.strip().splitlines()[-1]
