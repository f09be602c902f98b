"""Pools: one value for each cluster over all runs, and the differences between two sides."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.evidence.pooling import paired, pooled
from tests.support.evidence import scores

values = st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=1, max_size=30)


def a_run(rows):
    """Return the scores of (sample, cluster, value) rows."""
    names, clusters, found = zip(*rows, strict=True)
    return scores(found, names, [hash(cluster) % 2**64 for cluster in clusters])


def test_the_samples_of_one_prompt_are_one_observation():
    pool = pooled([a_run([(1, "a", 1), (2, "a", 0), (3, "b", 1)])])
    assert (sorted(pool.values), pool.n, pool.rows, pool.repeated) == ([0.5, 1.0], 2, 3, True)
    assert pool.mean == 0.75


def test_samples_of_different_prompts_are_as_many_observations():
    pool = pooled([a_run([(1, "a", 1), (2, "b", 0)])])
    assert (list(pool.values), pool.n, pool.repeated) == ([1, 0], 2, False)


def test_a_second_run_of_the_same_prompts_adds_no_observation():
    pool = pooled([scores([1, 0, 1]), scores([1, 1, 0])])
    assert (sorted(pool.values), pool.n, pool.rows, pool.repeated) == ([0.5, 0.5, 1], 3, 6, True)


def test_runs_of_different_prompts_add_up():
    pool = pooled([scores([1], ["a"]), scores([0], ["b"])])
    assert (pool.n, pool.repeated) == (2, False)


@given(values, st.integers(2, 4), st.randoms())
def test_repeating_rows_changes_no_value(found, times, order):
    rows = [(f"{at}-{copy}", at, value) for at, value in enumerate(found) for copy in range(times)]
    order.shuffle(rows)
    assert sorted(pooled([a_run(rows)]).values) == sorted(pooled([scores(found)]).values)


@given(st.lists(values, min_size=1, max_size=3), st.randoms())
def test_the_order_of_rows_and_runs_changes_nothing(runs, order):
    rows = [[(at, at % 5, value) for at, value in enumerate(run)] for run in runs]
    first = pooled([a_run(run) for run in rows])
    shuffled = [random.Random(1).sample(run, len(run)) for run in rows]
    order.shuffle(shuffled)
    again = pooled([a_run(run) for run in shuffled])
    assert (sorted(again.values), again.mean) == (sorted(first.values), first.mean)


# Differences


def test_equal_samples_pair():
    pool = paired([scores([1, 0, 1])], [scores([1, 1, 0])], missing=-1)
    assert (sorted(pool.values), pool.repeated) == ([-1, 0, 1], False)


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_sample_that_one_side_lacks_counts_as_missing(side):
    whole, part = scores([1, 1], ["a", "b"]), scores([1], ["a"])
    ours, theirs = (part, whole) if side == "ours" else (whole, part)
    pool = paired([ours], [theirs], missing=-1)
    assert sorted(pool.values) == [-1, 0]


def test_without_a_difference_for_missing_samples_only_pairs_count():
    ours, theirs = scores([1, 0], ["a", "b"]), scores([1, 1], ["b", "c"])
    assert list(paired([ours], [theirs], missing=None).values) == [-1]
    assert paired([ours], [scores([1], ["d"])], missing=None).n == 0


def test_pairs_of_one_prompt_are_one_difference():
    ours = a_run([(1, "a", 1), (2, "a", 0), (3, "b", 1)])
    theirs = a_run([(1, "a", 0), (2, "a", 0), (3, "b", 1)])
    pool = paired([ours], [theirs], missing=-1)
    assert (sorted(pool.values), pool.n, pool.repeated) == ([0, 0.5], 2, True)


@pytest.mark.parametrize("agree", [True, False])
def test_several_runs_of_a_side_are_repeated_even_where_all_of_them_agree(agree):
    ours = [scores([1, 1]), scores([1, 1] if agree else [1, 0])]
    pool = paired(ours, [scores([1, 1])], missing=-1)
    assert (pool.n, pool.repeated) == (2, True)


def test_a_sample_that_occurs_twice_counts_with_its_mean():
    twice = scores([1, 0], ["a", "a"])
    assert list(paired([twice], [scores([1], ["a"])], missing=-1).values) == [-0.5]


@given(values, st.data())
def test_leaving_samples_out_never_helps(found, data):
    reference = scores([0.25] * len(found))
    kept = data.draw(st.lists(st.sampled_from(range(len(found))), unique=True, min_size=1))
    fewer = scores([found[at] for at in kept], kept)
    whole = paired([scores(found)], [reference], missing=-1).mean
    assert paired([fewer], [reference], missing=-1).mean <= whole
