"""Looks: each tests the pool of the runs so far, and they spend one level together."""

import pytest

from app.domain.evidence.pooling import pooled
from app.domain.governance.looks import (
    MOST_LOOKS,
    Counts,
    bound,
    difference_bound,
    evidence_of,
    looked,
    spent,
)
from app.domain.statistics import betting, proportions
from app.domain.statistics.paired import PairedCounts
from app.domain.statistics.paired import lower_bound as paired_bound
from app.domain.statistics.spending import look_alpha
from tests.support.evidence import (
    BLEU,
    TONE,
    TOXICITY,
    a_cell,
    a_key,
    a_scored_evaluation,
    an_evaluation,
    scores,
    shares,
)

ALPHA = 0.05


def test_each_look_has_its_own_confidence_and_the_last_one_is_shown():
    seen = []

    def bound_of(runs, confidence):
        seen.append((len(runs), confidence))
        return 0.5

    found = looked("abc", lambda _: True, bound_of, ALPHA, lambda value: value >= 0.6)

    expected = [1 - look_alpha(ALPHA, look) for look in (1, 2, 3)]
    assert [runs for runs, _ in seen] == [1, 2, 3]
    assert [confidence for _, confidence in seen] == pytest.approx(expected, abs=1e-11)
    assert (found.count, found.passed, found.shown.number) == (3, False, 3)


def test_the_first_look_that_passes_ends_the_search():
    found = looked("abc", lambda _: True, lambda runs, _: len(runs), ALPHA, lambda n: n >= 2)
    assert (found.count, found.passed, found.shown.bound) == (2, True, 2)


def test_runs_with_too_few_samples_are_no_look():
    found = looked("abc", lambda runs: len(runs) > 1, lambda *_: 1, ALPHA, lambda _: True)
    assert (found.count, found.shown.number) == (1, 1)
    assert found.shown.confidence == pytest.approx(1 - 0.8 * ALPHA)


def test_a_look_at_runs_that_are_too_old_now_is_spent():
    def bound_of(runs, _):
        return 1 if len(runs) > 1 else None

    found = looked("ab", lambda _: True, bound_of, ALPHA, lambda _: True)
    assert (found.count, found.shown.number) == (2, 2)


def test_without_a_bound_nothing_is_shown():
    found = looked("ab", lambda _: True, lambda *_: None, ALPHA, lambda _: True)
    assert (found.count, found.passed, found.shown) == (2, False, None)


def test_the_number_of_looks_is_bounded():
    tested = []
    found = looked(
        range(100), lambda _: True, lambda *_: tested.append(1) or 0, ALPHA, lambda _: False
    )
    assert (found.count, len(tested)) == (MOST_LOOKS, MOST_LOOKS)


def test_the_level_is_divided_among_attempts_only_if_the_policy_says_so():
    assert spent(0.95, None) == ALPHA
    assert [spent(0.95, attempt) for attempt in (1, 2, 3)] == [ALPHA / 2, ALPHA / 6, ALPHA / 12]


# The test of a cell


def test_a_proportion_with_one_score_for_each_prompt_is_tested_exactly():
    pool = pooled([scores(shares(90))])
    assert bound(TONE, pool, 0.96, "at_least") == proportions.lower_bound(90, 100, 0.96)
    assert bound(TOXICITY, pool, 0.96, "at_most") == proportions.upper_bound(90, 100, 0.96)


def test_a_proportion_with_repeated_prompts_is_bounded_by_betting():
    pool = pooled([scores(shares(90)), scores(shares(90))])
    counted = betting.histogram(pool.values, 0, 1, "at_least")
    assert bound(TONE, pool, 0.96, "at_least") == betting.lower_bound(counted, 0.96)
    counted = betting.histogram(pool.values, 0, 1, "at_most")
    assert bound(TOXICITY, pool, 0.96, "at_most") == betting.upper_bound(counted, 0.96)


def test_a_mean_is_bounded_by_betting_over_its_range():
    pool = pooled([scores([90, 80, 100] * 20)])
    counted = betting.histogram(pool.values, 0, 100, "at_least")
    assert bound(BLEU, pool, 0.96, "at_least") == betting.lower_bound(counted, 0.96)


def test_differences_of_single_runs_are_tested_exactly():
    pool = pooled([scores([1] * 3 + [-1] * 5 + [0] * 92)])
    found = difference_bound(TONE, pool, 0.96, "at_least")
    assert found == paired_bound(PairedCounts(92, 3, 5, 0), 0.96)
    assert difference_bound(TOXICITY, pool, 0.96, "at_most") > 0


def test_other_differences_are_bounded_by_betting_over_twice_the_range():
    pool = pooled([scores([10, -20, 0] * 20)])
    counted = betting.histogram(pool.values, -100, 100, "at_least")
    assert difference_bound(BLEU, pool, 0.96, "at_least") == betting.lower_bound(counted, 0.96)


# The evidence of runs


def test_runs_with_samples_are_pooled():
    runs = [a_scored_evaluation("a", shares(9, 10)), a_scored_evaluation("b", shares(10, 10))]
    assert evidence_of(TONE, runs, a_key(), "at_least").n == 10


def test_reports_have_together_as_many_samples_as_the_largest():
    runs = [
        an_evaluation("a", cells=a_cell(0.9, 100)),
        an_evaluation("b", cells=a_cell(0.8, 50)),
    ]
    assert evidence_of(TONE, runs, a_key(), "at_least") == Counts(86, 100)  # 130 of 150, down
    assert evidence_of(TOXICITY, runs, a_key(), "at_most") == Counts(87, 100)
    assert bound(TONE, Counts(86, 100), 0.95, "at_least") == proportions.lower_bound(86, 100, 0.95)


def test_a_rounded_report_counts_at_its_worst():
    runs = [an_evaluation(cells=a_cell(0.333, 1200))]
    assert evidence_of(TONE, runs, a_key(), "at_least") == Counts(399, 1200)
    assert evidence_of(TOXICITY, runs, a_key(), "at_most") == Counts(400, 1200)


def test_a_report_of_a_mean_or_of_no_proportion_is_no_evidence():
    runs = [an_evaluation(cells=a_cell(0.55, 10))]
    assert evidence_of(TONE, runs, a_key(), "at_least") is None
    assert evidence_of(BLEU, runs, a_key(), "at_least") is None
