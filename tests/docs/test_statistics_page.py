"""The code reproduces the tables on proportions and pairs of docs/concepts/statistics.md."""

import itertools

import numpy as np
import pytest
from scipy import stats

from app.domain.statistics import paired
from app.domain.statistics.planning import samples_for_proportion
from app.domain.statistics.proportions import (
    misses_allowed,
    power,
    smallest_n_that_can_pass,
)
from app.domain.statistics.tango import wins_needed
from app.domain.statistics.unconditional import Region, probability, worst_case
from tests.docs.statistics_tables import percent, rows


def wilson_level(limit, n):
    """Return how often a system at its limit passes if Wilson's one-sided bound decides."""
    z, k = stats.norm.ppf(0.95), np.arange(n + 1)
    spread = z * np.sqrt(k * (1 - k / n) + z * z / 4)
    passing = (k + z * z / 2 - spread) / (n + z * z) >= limit
    return stats.binom.pmf(k[passing], n, limit).sum()


def levels():
    for limit, n in [(0.5, 50), (0.85, 100), (0.9, 100), (0.95, 100), (0.95, 200)]:
        exact = power(limit, limit, n, 0.95)
        yield f"{limit:g}", str(n), percent(wilson_level(limit, n)), percent(exact)


def smallest():
    for limit in (0.8, 0.85, 0.9, 0.95, 0.98, 0.99):
        needed = [smallest_n_that_can_pass(limit, c) for c in (0.9, 0.95, 0.99)]
        yield (f"{limit:g}", *map(str, needed))


def plans():
    cases = [(0.85, 0.9), (0.85, 0.95), (0.9, 0.95), (0.95, 0.98), (0.01, 0.002), (0.05, 0.02)]
    for limit, truth in cases:
        demand = "at_least" if truth > limit else "at_most"
        n = [samples_for_proportion(limit, truth, 0.95, p, demand) for p in (0.8, 0.9)]
        yield (f"`{demand}: {limit:g}`", f"{truth:g}", *map(str, n))


def powers():
    for n in (50, 100, 200, 400, 1000):
        row = [f"{power(0.85, truth, n, 0.95):.3f}" for truth in (0.85, 0.88, 0.9, 0.92, 0.95)]
        yield (str(n), str(n - misses_allowed(0.85, n, 0.95)), *row)


def intersections():
    for cells in (1, 6, 12, 30):
        worst = power(0.85, 0.85, 100, 0.95)
        plain = power(0.85, 0.95, 100, 0.95) ** cells
        corrected = power(0.85, 0.95, 100, 1 - 0.05 / cells) ** cells
        yield str(cells), percent(worst), f"{plain:.3f}", f"{corrected:.3f}"


def tango_region(margin, n):
    return Region(n, wins_needed(n, -margin, stats.norm.ppf(0.95)))


def paired_levels():
    for n in (30, 50, 100, 133):
        row = []
        for margin in (0.02, 0.05, 0.1):
            both = tango_region(margin, n), paired.passing_region(margin, n, 0.95)
            row += [percent(worst_case(region, -margin)[0]) for region in both]
        yield (str(n), *row)


def paired_powers():
    for margin, n in itertools.product((0.02, 0.05, 0.1), (100, 200)):
        row = []
        for rate in (0.05, 0.1, 0.2):
            row.append(f"{paired.power(margin, rate, n, 0.95):.3f}")
            row.append(f"{probability(tango_region(margin, n), rate, 0.0):.3f}")
        yield (f"{margin:g}", str(n), *row)


TABLES = [levels, smallest, plans, powers, intersections, paired_levels, paired_powers]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_the_code_reproduces_a_table_of_the_document(table):
    assert rows(table.__name__) == list(table())


def test_the_document_names_the_wilson_figures_in_its_text():
    figures = [wilson_level(*case) for case in [(0.5, 50), (0.85, 100), (0.9, 100)]]

    assert [round(100 * figure, 2) for figure in figures[:1]] == [5.95]
    assert [round(100 * figure, 1) for figure in figures[1:]] == [5.5, 5.8]


def test_the_two_allowances_named_in_the_document_hold():
    assert 100 - misses_allowed(0.85, 100, 0.95) == 92
    assert misses_allowed(0.01, 473, 0.95, "at_most") == 1


@pytest.mark.parametrize(("n", "passed"), [(148, False), (149, True), (173, False), (174, True)])
def test_pairs_that_all_agree_pass_a_margin_of_two_percent_as_documented(n, passed):
    assert (paired.lower_bound(paired.PairedCounts(n, 0, 0, 0), 0.95) >= -0.02) is passed


def test_measuring_087_at_a_truth_of_084_happens_one_time_in_four():
    assert stats.binom.sf(86, 100, 0.84) == pytest.approx(0.25, abs=0.005)
