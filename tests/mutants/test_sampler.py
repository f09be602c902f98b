"""The sample: by the seed alone, with fixed shares, one mutation a line."""

from collections import Counter
from dataclasses import replace

from tools.mutants.mutation import Family
from tools.mutants.operators import mutations_of
from tools.mutants.sampler import SHARES, sample

CODE = """
LIMIT: Final = 7

def f(a, session, row):
    if a < LIMIT:
        raise ValueError
    audit.lock_chain(session)
    b = a == 3 and a != row
    c = row.expires_at <= now
    notify(session, a)
    d = select(A).where(A.b == a)
    return b + c + d
"""
TEXTS = {f"app/m{number}.py": CODE for number in range(300)}
OF_ONE = list(mutations_of("app/m0.py", CODE))
CANDIDATES = [replace(each, path=path) for path in TEXTS for each in OF_ONE]


def a_sample(seed="2026-03-01", *, count=200, accepted=(), candidates=CANDIDATES, texts=TEXTS):
    return sample(candidates, count=count, seed=seed, accepted=accepted, texts=texts)


def test_the_same_seed_draws_the_same_sample():
    assert a_sample() == a_sample(candidates=CANDIDATES[::-1])


def test_another_seed_draws_another_sample():
    assert a_sample() != a_sample("2026-03-02")


def test_an_edit_elsewhere_changes_nothing_of_the_draw():
    moved = {path: f"# A comment.\n\n{text}" for path, text in TEXTS.items()}
    of_one = list(mutations_of("app/m0.py", moved["app/m0.py"]))
    candidates = [replace(each, path=path) for path in moved for each in of_one]
    drawn = a_sample(candidates=candidates, texts=moved)
    assert [each.key for each in drawn] == [each.key for each in a_sample()]


def test_each_family_has_its_share():
    assert sum(SHARES.values()) == 100
    counted = Counter(each.family for each in a_sample())
    assert counted == {family: 2 * share for family, share in SHARES.items()}


def test_a_family_that_is_too_small_leaves_its_share_to_the_others():
    candidates = [each for each in CANDIDATES if each.family is not Family.LOCKS]
    assert len(a_sample(candidates=candidates)) == 200


def test_no_two_mutations_are_of_one_line():
    lines = Counter((each.path, each.line) for each in a_sample(count=1000))
    assert set(lines.values()) == {1}


def test_there_are_no_more_than_there_are():
    code = "a = b < c\n"
    candidates = list(mutations_of("app/a.py", code))
    assert len(a_sample(candidates=candidates, texts={"app/a.py": code})) == 1


def test_accepted_mutations_are_not_drawn():
    drawn = a_sample()
    accepted = {each.identity for each in drawn[:50]}
    assert not accepted & {each.identity for each in a_sample(accepted=accepted)}


def test_mutations_that_are_no_python_are_not_drawn():
    broken = [replace(each, edit=replace(each.edit, new=")")) for each in CANDIDATES[:20]]
    assert a_sample(candidates=broken) == []
