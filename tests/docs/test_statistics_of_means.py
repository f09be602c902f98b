"""The code reproduces the tables on means, clusters, looks and plans of the statistics page."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from app.domain.statistics import betting, paired, proportions
from app.domain.statistics.planning import samples_for_bounded_mean, samples_for_pairs
from tests.docs.betting_simulations import (
    FIVE_POINTS,
    RUBRIC,
    SHAPES,
    absorbed,
    beta_points,
    least_n,
    log_wealth,
    passing_shares,
    repeated_runs,
    samples,
)
from tests.docs.betting_simulations import (
    cluster_levels as cluster_level,
)
from tests.docs.statistics_tables import percent, rows

Z = stats.norm.ppf(0.95) + stats.norm.ppf(0.8)
GOOD_RUBRIC = (0.935, 0.045, 0.01, 0.01, 0)
PRICES = {
    "five points .935/.045/.01/.01/0": (FIVE_POINTS, GOOD_RUBRIC, (0.95, 0.9, 0.85)),
    "five points .90/.06/.02/.01/.01": (FIVE_POINTS, RUBRIC, (0.9, 0.85)),
    "0 or 1": ((1, 0), (0.95, 0.05), (0.85,)),
    "Beta(9, 1)": (*beta_points(9, 1), (0.85,)),
    "difference of pairs, 10 % differ by ±1": ((1, 0.5, 0), (0.05, 0.9, 0.05), (0.45, 0.475)),
}


def points(share):
    return f"{100 * share:.1f} %"


def mean_levels():
    for name, (scores, shares) in SHAPES.items():
        limit = float(np.dot(scores, shares))
        levels = [passing_shares(scores, shares, n, limit) for n in (30, 100, 300)]
        yield name, *(points(share) for pair in levels for share in pair)


def mean_prices():
    for name, (scores, shares, limits) in PRICES.items():
        mean = float(np.dot(scores, shares))
        deviation = math.sqrt(np.dot(np.square(scores), shares) - mean**2)
        for limit in limits:
            claim = (Z * deviation / (mean - limit)) ** 2 + stats.norm.ppf(0.95) ** 2 / 2
            plan = samples_for_bounded_mean(limit, mean, deviation, 0.95, 0.8, low=0, high=1)
            needed = claim, least_n(scores, shares, limit), plan
            yield name, f"{mean:.3f}", f"{limit:g}", *(str(math.ceil(n)) for n in needed)


def mean_smallest():
    for limit in (0.5, 0.85, 0.9, 0.95, 0.99):
        by_betting = betting.smallest_n_that_can_pass(limit, 0, 1, 0.95, "at_least")
        exact = proportions.smallest_n_that_can_pass(limit, 0.95)
        yield f"{limit:g}", str(by_betting), str(exact)


def cluster_levels():
    for clusters, size, correlation in [(100, 4, 0.3), (40, 10, 0.3), (20, 20, 0.3), (10, 40, 0.6)]:
        levels = cluster_level(clusters, size, correlation)
        yield f"{clusters} \N{MULTIPLICATION SIGN} {size}", f"{correlation:g}", *map(points, levels)


def look_shares():
    good, limiting = (repeated_runs(truth, 0.85, 340, 0.5, 10) for truth in (0.9, 0.85))
    for runs in (1, 2, 3, 5, 10):
        yield str(runs), *map(points, (*good[runs], *limiting[runs]))


def peeking():
    tests = {"binomial": binomial_passes, "betting": betting_passes}
    for name, passes in tests.items():
        yield name, percent(absorbed(0.85, passes, 100, 1000))


def pair_plans():
    for margin, discordance in [(0.02, 0.01), (0.05, 0.02), (0.05, 0.1), (0.1, 0.2)]:
        fewest = proportions.smallest_n_that_can_pass(1 - margin, 0.95)
        connor = max(math.ceil(Z**2 * discordance / margin**2), fewest)
        plan = samples_for_pairs(margin, discordance, 0.95, 0.8)
        powers = [f"{paired.power(margin, discordance, n, 0.95):.2f}" for n in (connor, plan)]
        yield f"{margin:g}", f"{discordance:g}", str(connor), powers[0], str(plan), powers[1]


def binomial_passes(hits, n):
    return proportions.passes(0.85, hits, n, 0.95)


def betting_passes(hits, n):
    parts = [(betting.histogram([x], 0, 1, "at_least"), k) for x, k in ((1, hits), (0, n - hits))]
    return betting.passes(betting.combined(parts), 0.85, 0.95, "at_least")


SIMULATED_TABLES = [mean_levels, cluster_levels, look_shares]
EXACT_TABLES = [mean_smallest, peeking, pair_plans]
TABLES = [*SIMULATED_TABLES, *EXACT_TABLES, mean_prices]


def is_close(printed, computed, within):
    """Compare cells; NumPy may one day draw other samples from the same seed."""
    try:
        numbers = [float(cell.rstrip(" %")) for cell in (printed, computed)]
    except ValueError:
        return printed == computed
    return numbers[0] == pytest.approx(numbers[1], **within)


@pytest.mark.parametrize("table", EXACT_TABLES, ids=lambda table: table.__name__)
def test_the_code_reproduces_a_table_of_the_document(table):
    assert rows(table.__name__) == list(table())


@pytest.mark.parametrize(
    ("table", "within"),
    [*((table, {"abs": 2.0}) for table in SIMULATED_TABLES), (mean_prices, {"rel": 0.08})],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_simulations_agree_with_a_table_of_the_document(table, within):
    printed, computed = rows(table.__name__), list(table())
    assert [len(row) for row in printed] == [len(row) for row in computed]
    for row, expected in zip(printed, computed, strict=True):
        assert all(is_close(*cells, within) for cells in zip(row, expected, strict=True)), row


def test_no_betting_column_of_the_document_is_above_alpha():
    levels = [cell for row in rows("mean_levels") for cell in row[2::2]]
    levels += [row[-1] for name in ("cluster_levels", "look_shares") for row in rows(name)]
    levels.append(dict(rows("peeking"))["betting"])
    assert all(float(cell.rstrip(" %")) < 5 for cell in levels)


def test_holding_cells_lose_no_power_by_repetition():
    held = [float(row[3].rstrip(" %")) for row in rows("look_shares")]
    assert all(after >= before - 0.1 for before, after in pairwise(held))


def test_the_simulated_bets_are_those_of_the_code():
    counts = samples(RUBRIC, 160)[:200]
    simulated = log_wealth(counts, FIVE_POINTS, 0.9) >= math.log(20)
    parts = [betting.histogram([score], 0, 1, "at_least") for score in FIVE_POINTS]

    passed = [
        betting.passes(betting.combined(zip(parts, row, strict=True)), 0.9, 0.95, "at_least")
        for row in counts.tolist()
    ]

    assert passed == simulated.tolist()
    assert 20 < sum(passed) < 180
