"""The list of accepted survivors: how it is read and written, and which entries are stale."""

from pathlib import Path

import pytest

from tools.mutants import accepted
from tools.mutants.__main__ import modules
from tools.mutants.mutation import Identity
from tools.mutants.operators import mutations_of

ROOT = Path(__file__).parents[2]
CODE = "def f(a):\n    return a < 1\n"
(MUTATION,) = [each for each in mutations_of("app/a.py", CODE) if each.operator == "boundary"]


@pytest.fixture
def listed(tmp_path):
    """Read a list with this text."""

    def listed(text):
        file = tmp_path / "accepted.txt"
        file.write_text(text)
        return accepted.read(file)

    return listed


def test_an_entry_that_is_written_is_read_again(listed):
    text = accepted.written(MUTATION, "Both sides are equal there.")
    (entry,) = listed(f"# A comment.\n\n{text}\n")
    assert entry.identity == MUTATION.identity
    assert entry.reason == "Both sides are equal there."


def test_entries_are_separated_by_blank_lines(listed):
    text = accepted.written(MUTATION, "A reason.")
    assert len(listed(f"{text}\n\n{text}\n")) == 2


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("app/a.py :: f :: boundary\n    a < 1\n", id="no-reason"),
        pytest.param("app/a.py :: f\n    a < 1\n    A reason.\n", id="no-operator"),
        pytest.param("app/a.py :: f :: boundary\n  a\n  b\n  c\n", id="too-long"),
    ],
)
def test_an_entry_that_lacks_a_part_is_refused(listed, text):
    with pytest.raises(accepted.MalformedListError, match="Line 1"):
        listed(text)


def test_an_entry_without_its_code_is_stale():
    texts = {"app/a.py": CODE}
    known = accepted.Accepted(MUTATION.identity, "A reason.")
    changed = accepted.Accepted(MUTATION.identity._replace(old="a < 2"), "A reason.")
    moved = accepted.Accepted(MUTATION.identity._replace(path="app/b.py"), "A reason.")
    assert accepted.stale([known, changed, moved], texts) == [changed, moved]


def test_no_entry_of_the_list_is_stale_or_without_a_reason():
    entries = accepted.read(Path(__file__).with_name("accepted.txt"))
    assert accepted.stale(entries, modules(ROOT)) == []
    assert [entry for entry in entries if len(entry.reason.split()) < 4] == []
    identities = [entry.identity for entry in entries]
    assert sorted(set(identities)) == sorted(identities)
    assert all(isinstance(each, Identity) for each in identities)
