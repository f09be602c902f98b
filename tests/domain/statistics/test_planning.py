"""Sample plans: the n they name is enough, stays enough, and is not wasteful."""

import math

import numpy as np
import pytest
from scipy import stats

from app.domain.statistics import betting, paired
from app.domain.statistics.planning import (
    samples_for_bounded_mean,
    samples_for_mean,
    samples_for_pairs,
    samples_for_proportion,
)
from app.domain.statistics.proportions import misses_allowed, power


def last_n_that_falls_short(limit, truth, confidence, wanted, demand, highest):
    """Search every n by brute force, with SciPy's binomial distribution."""
    short = 0
    misses = misses_allowed(limit, highest, confidence, demand)
    rate = 1 - truth if demand == "at_least" else truth
    null = 1 - limit if demand == "at_least" else limit
    for n in range(highest, 0, -1):
        allowed = np.arange(misses + 1)
        fits = stats.binom.cdf(allowed, n, null) <= (1 - confidence) * (1 + 1e-9)
        misses = int(fits.sum()) - 1
        if misses < 0 or stats.binom.cdf(misses, n, rate) < wanted:
            short = n
            break
    return short


@pytest.mark.parametrize(
    ("limit", "truth", "confidence", "wanted", "demand"),
    [
        pytest.param(0.85, 0.90, 0.95, 0.8, "at_least", id="tone"),
        pytest.param(0.85, 0.95, 0.95, 0.9, "at_least", id="tone-far-better"),
        pytest.param(0.01, 0.002, 0.95, 0.8, "at_most", id="toxicity"),
        pytest.param(0.95, 1.0, 0.95, 0.9, "at_least", id="perfect"),
        pytest.param(0.05, 0.0, 0.95, 0.9, "at_most", id="never"),
        # Teeth one or two samples long: the first that suffices is not the last that falls short.
        pytest.param(0.17, 0.2557085, 0.99, 0.95, "at_least", id="uneven-teeth"),
        pytest.param(0.833, 0.684316, 0.99, 0.9, "at_most", id="uneven-teeth-at-most"),
    ],
)
def test_from_the_planned_n_on_the_power_is_never_lost(limit, truth, confidence, wanted, demand):
    n = samples_for_proportion(limit, truth, confidence, wanted, demand)

    assert last_n_that_falls_short(limit, truth, confidence, wanted, demand, n + 300) == n - 1
    assert power(limit, truth, n, confidence, demand) >= wanted


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.9, 0.99])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("effect", [0.05, 0.2, 0.5])
def test_a_planned_mean_is_within_one_sample_of_the_exact_noncentral_t(effect, confidence, wanted):
    def exact_power(n):
        critical = stats.t.ppf(confidence, n - 1)
        return stats.nct.sf(critical, n - 1, effect * math.sqrt(n))

    n = samples_for_mean(effect, confidence, wanted)

    assert exact_power(n + 1) >= wanted
    assert n == 30 or exact_power(n - 2) < wanted


def test_a_mean_is_never_planned_below_the_smallest_sample():
    assert samples_for_mean(10, 0.95, 0.8) == 30


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: samples_for_proportion(0.9, 0.9, 0.95, 0.8), id="no-better"),
        pytest.param(lambda: samples_for_proportion(0.1, 0.2, 0.95, 0.8, "at_most"), id="worse"),
        pytest.param(lambda: samples_for_proportion(1.0, 1.0, 0.95, 0.8), id="limit-of-1"),
        pytest.param(lambda: samples_for_proportion(0.5, math.nan, 0.95, 0.8), id="truth-nan"),
        pytest.param(lambda: samples_for_proportion(0.5, 0.9, 0.95, 1), id="power-of-1"),
        pytest.param(lambda: samples_for_proportion(0.5, 0.9, 0.5, 0.8), id="confidence-of-a-coin"),
        pytest.param(lambda: samples_for_proportion(0.5, 0.5005, 0.95, 0.8), id="too-close"),
        pytest.param(lambda: samples_for_mean(0, 0.95, 0.8), id="no-effect"),
        pytest.param(lambda: samples_for_mean(math.inf, 0.95, 0.8), id="infinite-effect"),
        pytest.param(lambda: samples_for_mean(0.5, 0.95, math.nan), id="mean-power-nan"),
        pytest.param(lambda: samples_for_mean(0.001, 0.95, 0.8), id="mean-too-close"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(call):
    with pytest.raises(ValueError, match=r"\.$"):
        call()


def two_points(truth, deviation):
    """Return the share of zeros and the other value of the least favourable distribution."""
    return deviation**2 / (truth**2 + deviation**2), truth + deviation**2 / truth


def mean_power(n, limit, truth, deviation, confidence):
    """Return the power of n values, by the test itself on each number of zeros."""
    share, other = two_points(truth, deviation)
    misses = 0
    while betting.passes(
        betting.histogram([other] * (n - misses) + [0] * misses, 0, 1, "at_least"),
        limit,
        confidence,
        "at_least",
    ):
        misses += 1
    return stats.binom.cdf(misses - 1, n, share)


@pytest.mark.parametrize(
    ("limit", "truth", "deviation", "confidence", "wanted"),
    [
        pytest.param(0.85, 0.9, 0.1, 0.95, 0.8, id="scores"),
        pytest.param(0.85, 0.95, 0.95**0.5 * 0.05**0.5, 0.95, 0.9, id="zeros-and-ones"),
        pytest.param(0.9, 0.976, 0.115, 0.96, 0.8, id="rubric"),
        pytest.param(0.475, 0.5, 0.05, 0.95, 0.8, id="no-worse"),
    ],
)
def test_from_the_planned_n_on_a_mean_never_loses_its_power(
    limit, truth, deviation, confidence, wanted
):
    n = samples_for_bounded_mean(limit, truth, deviation, confidence, wanted, low=0, high=1)

    powers = [mean_power(n + more, limit, truth, deviation, confidence) for more in range(-1, 60)]
    assert powers[0] < wanted <= min(powers[1:])


@pytest.mark.parametrize(
    ("scores", "shares"),
    [
        ((1, 0.75, 0.5, 0.25, 0), (0.95, 0.02, 0.02, 0.005, 0.005)),
        ((1, 0.75, 0.5, 0.25, 0), (0.93, 0.055, 0.01, 0.004, 0.001)),
        ((1, 0.5), (0.95, 0.05)),
    ],
)
def test_other_distributions_of_the_same_moments_have_more_power(scores, shares):
    truth = float(np.dot(scores, shares))
    deviation = math.sqrt(np.dot(np.square(scores), shares) - truth**2)
    n = samples_for_bounded_mean(0.9, truth, deviation, 0.95, 0.8, low=0, high=1)
    random = np.random.default_rng(3)

    passed = [
        betting.passes(
            betting.histogram(random.choice(scores, n, p=shares).tolist(), 0, 1, "at_least"),
            0.9,
            0.95,
            "at_least",
        )
        for _ in range(1000)
    ]

    assert np.mean(passed) > 0.8


def test_a_plan_for_at_most_mirrors_that_for_at_least():
    n = samples_for_bounded_mean(0.9, 0.95, 0.1, 0.95, 0.8, low=0, high=1)
    m = samples_for_bounded_mean(10, 5, 10, 0.95, 0.8, low=0, high=100, demand="at_most")
    assert m == n


def test_a_mean_without_spread_needs_the_values_that_pass_alone():
    n = samples_for_bounded_mean(0.95, 1, 0, 0.95, 0.8, low=0, high=1)
    assert n == betting.smallest_n_that_can_pass(0.95, 0, 1, 0.95, "at_least")


@pytest.mark.parametrize(
    "changed",
    [
        {"truth": 0.8},
        {"truth": 1.1},
        {"truth": math.nan},
        {"limit": 1},
        {"limit": 0},
        {"deviation": 0.4},
        {"deviation": -0.1},
        {"deviation": math.nan},
        {"power": 1},
        {"confidence": 0.5},
        {"low": 1},
        {"high": math.inf},
        {"truth": 0.8001, "limit": 0.8, "deviation": 0.3},
    ],
    ids=str,
)
def test_impossible_plans_of_means_are_refused(changed):
    asked = {"limit": 0.8, "truth": 0.9, "deviation": 0.1, "confidence": 0.95, "power": 0.8}
    with pytest.raises(ValueError, match=r"\.$"):
        samples_for_bounded_mean(**{**asked, "low": 0, "high": 1, **changed})


@pytest.mark.parametrize(
    ("margin", "discordance", "wanted"),
    [
        (0.05, 0.1, 0.8),
        (0.05, 0.1, 0.9),
        (0.1, 0.2, 0.8),
        (0.02, 0.05, 0.8),
        (0.02, 0.01, 0.8),
        pytest.param(0.02, 0.15, 0.8, id="by-the-formula"),
    ],
)
def test_planned_pairs_reach_the_power_of_the_exact_test(margin, discordance, wanted):
    n = samples_for_pairs(margin, discordance, 0.95, wanted)
    assert wanted <= paired.power(margin, discordance, n, 0.95) < 0.97


@pytest.mark.parametrize(("margin", "discordance"), [(0.05, 0.1), (0.02, 0.01)])
def test_fewer_pairs_than_planned_fall_short(margin, discordance):
    n = samples_for_pairs(margin, discordance, 0.95, 0.8)
    assert paired.power(margin, discordance, round(0.8 * n), 0.95) < 0.8


@pytest.mark.parametrize(
    ("margin", "discordance", "n"), [(0.05, 0, 60), (0.02, 0, 149), (0.05, 0.001, 60)]
)
def test_enough_pairs_are_planned_to_pass_without_a_discordant_one(margin, discordance, n):
    assert samples_for_pairs(margin, discordance, 0.95, 0.8) == n
    assert paired.lower_bound(paired.PairedCounts(n, 0, 0, 0), 0.95) >= -margin


@pytest.mark.parametrize(
    "arguments",
    [(0, 0.1, 0.95, 0.8), (1, 0.1, 0.95, 0.8), (0.05, 1.1, 0.95, 0.8), (1e-4, 1, 0.95, 0.8)],
)
def test_impossible_plans_of_pairs_are_refused(arguments):
    with pytest.raises(ValueError, match=r"margin|between|more than"):
        samples_for_pairs(*arguments)
