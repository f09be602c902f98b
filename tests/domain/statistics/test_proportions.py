"""The exact binomial test: its bounds, its ties and the samples that it needs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from app.domain.statistics.levels import level
from app.domain.statistics.proportions import (
    lower_bound,
    misses_allowed,
    passes,
    power,
    smallest_n_that_can_pass,
    upper_bound,
)

CONFIDENCES = st.sampled_from([0.6, 0.8, 0.9, 0.95, 0.975, 0.99, 0.999])
LIMITS = st.integers(1, 999).map(lambda thousandths: thousandths / 1000)
DEMANDS = st.sampled_from(["at_least", "at_most"])


@st.composite
def counts(draw, largest=3000):
    n = draw(st.integers(1, largest))
    return draw(st.integers(0, n)), n


def p_value(limit, successes, n, demand):
    """Return SciPy's p-value of the binomial test against "the limit is not kept"."""
    if limit == (0 if demand == "at_least" else 1):
        return 0.0  # no true value could break such a limit
    alternative = "greater" if demand == "at_least" else "less"
    return stats.binomtest(successes, n, limit, alternative=alternative).pvalue


@given(counts=counts(10**6), confidence=CONFIDENCES)
def test_bounds_are_the_beta_quantiles_of_clopper_and_pearson(counts, confidence):
    k, n = counts
    lower = stats.beta.ppf(1 - confidence, k, n - k + 1) if k else 0
    upper = stats.beta.ppf(confidence, k + 1, n - k) if k < n else 1

    assert lower_bound(k, n, confidence) == pytest.approx(lower, rel=1e-9, abs=0)
    assert upper_bound(k, n, confidence) == pytest.approx(upper, rel=1e-9, abs=0)


@pytest.mark.parametrize(
    ("k", "n", "lower", "upper"),
    [
        # R's binom.test(10, 20), and its documented example from Conover (1971), plant heights.
        pytest.param(10, 20, 0.2719578, 0.7280422, id="r-10-of-20"),
        pytest.param(682, 925, 0.7076683, 0.7654066, id="r-conover"),
    ],
)
def test_bounds_reproduce_published_two_sided_95_percent_intervals(k, n, lower, upper):
    assert lower_bound(k, n, 0.975) == pytest.approx(lower, abs=5e-8)
    assert upper_bound(k, n, 0.975) == pytest.approx(upper, abs=5e-8)


@given(counts=counts(), limit=LIMITS, confidence=CONFIDENCES, demand=DEMANDS)
def test_the_bound_decides_exactly_as_the_p_value_does(counts, limit, confidence, demand):
    k, n = counts

    p, alpha = p_value(limit, k, n, demand), level(confidence)

    if not math.isclose(p, alpha, rel_tol=1e-9):
        assert passes(limit, k, n, confidence, demand) == (p <= alpha)


@pytest.mark.parametrize(
    ("limit", "k", "n", "confidence", "demand", "passed"),
    [
        pytest.param(0.5, 5, 5, 0.96875, "at_least", True, id="p-value-equals-alpha"),
        pytest.param(0.1, 1, 1, 0.9, "at_least", True, id="equal-in-decimals-only"),
        pytest.param(0.5, 0, 5, 0.96875, "at_most", True, id="at-most-p-value-equals-alpha"),
        pytest.param(0.9, 0, 1, 0.9, "at_most", True, id="at-most-equal-in-decimals-only"),
        pytest.param(0.2, 0, 1000, 0.95, "at_least", False, id="no-success"),
        pytest.param(0.8, 1000, 1000, 0.95, "at_most", False, id="nothing-but-events"),
        pytest.param(0.0, 0, 1, 0.95, "at_least", True, id="nothing-demanded"),
        pytest.param(1.0, 1, 1, 0.95, "at_most", True, id="everything-allowed"),
        pytest.param(1.0, 10**6, 10**6, 0.95, "at_least", False, id="perfection-cannot-be-shown"),
        pytest.param(0.0, 0, 10**6, 0.95, "at_most", False, id="absence-cannot-be-shown"),
    ],
)
def test_ties_pass_and_edges_agree_with_the_p_value(limit, k, n, confidence, demand, passed):
    assert passes(limit, k, n, confidence, demand) is passed
    tied = math.isclose(p_value(limit, k, n, demand), level(confidence), rel_tol=1e-12)
    assert passed == (tied or p_value(limit, k, n, demand) <= level(confidence))


@given(counts=counts(), limit=LIMITS, confidence=CONFIDENCES)
def test_at_most_is_at_least_of_the_misses(counts, limit, confidence):
    k, n = counts

    mirrored = 1 - lower_bound(n - k, n, confidence)

    assert upper_bound(k, n, confidence) == pytest.approx(mirrored, abs=1e-11)


@given(counts=counts(), limit=LIMITS, confidence=CONFIDENCES)
def test_one_more_success_never_turns_a_pass_into_a_fail(counts, limit, confidence):
    k, n = counts
    more = min(k + 1, n)

    assert lower_bound(more, n, confidence) >= lower_bound(k, n, confidence)
    assert upper_bound(more, n, confidence) >= upper_bound(k, n, confidence)
    assert passes(limit, more, n, confidence) >= passes(limit, k, n, confidence)


@given(counts=counts(), limit=LIMITS, lower=LIMITS, confidence=CONFIDENCES)
def test_a_lower_limit_never_turns_a_pass_into_a_fail(counts, limit, lower, confidence):
    k, n = counts
    low, high = min(limit, lower), max(limit, lower)

    assert passes(low, k, n, confidence) >= passes(high, k, n, confidence)
    assert passes(high, k, n, confidence, "at_most") >= passes(low, k, n, confidence, "at_most")


@pytest.mark.parametrize(
    ("limit", "confidence", "demand", "n"),
    [
        pytest.param(0.95, 0.95, "at_least", 59, id="the-classic-59"),
        pytest.param(0.01, 0.95, "at_most", 299, id="rule-of-three"),
        pytest.param(0.5, 0.96875, "at_least", 5, id="a-tie"),
        pytest.param(0.999, 0.99, "at_least", 4603, id="three-nines"),
        pytest.param(0.01, 0.6, "at_least", 1, id="one-is-enough"),
        pytest.param(0.0, 0.95, "at_least", 1, id="nothing-demanded"),
        pytest.param(1.0, 0.95, "at_most", 1, id="everything-allowed"),
    ],
)
def test_the_smallest_n_that_can_pass_is_known(limit, confidence, demand, n):
    assert smallest_n_that_can_pass(limit, confidence, demand) == n


@given(limit=LIMITS, confidence=CONFIDENCES, demand=DEMANDS)
def test_no_smaller_n_can_pass(limit, confidence, demand):
    n = smallest_n_that_can_pass(limit, confidence, demand)

    assert misses_allowed(limit, n, confidence, demand) is not None
    assert n == 1 or misses_allowed(limit, n - 1, confidence, demand) is None


@given(n=st.integers(1, 2000), limit=LIMITS, confidence=CONFIDENCES)
def test_the_misses_allowed_are_the_most_that_pass(n, limit, confidence):
    allowed = misses_allowed(limit, n, confidence)

    assert passes(limit, n, n, confidence) == (allowed is not None)
    if allowed is not None:
        assert passes(limit, n - allowed, n, confidence)
        assert allowed == n or not passes(limit, n - allowed - 1, n, confidence)


@pytest.mark.parametrize(("demand", "truth"), [("at_least", 0.9), ("at_most", 0.1)])
def test_power_is_the_binomial_probability_of_few_enough_misses(demand, truth):
    limit = 0.85 if demand == "at_least" else 0.15

    allowed = misses_allowed(limit, 304, 0.95, demand)

    assert allowed == 35
    expected = pytest.approx(stats.binom.cdf(35, 304, 0.1), rel=1e-9)
    assert power(limit, truth, 304, 0.95, demand) == expected


def test_power_is_zero_where_not_even_a_perfect_sample_passes():
    assert power(0.95, 1.0, 58, 0.95) == 0
    assert power(0.95, 1.0, 59, 0.95) == 1


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: lower_bound(-1, 10, 0.95), id="negative-count"),
        pytest.param(lambda: upper_bound(11, 10, 0.95), id="more-successes-than-samples"),
        pytest.param(lambda: lower_bound(0, 0, 0.95), id="no-samples"),
        pytest.param(lambda: lower_bound(5, 10, 0.5), id="confidence-of-a-coin"),
        pytest.param(lambda: upper_bound(5, 10, 1.0), id="certainty"),
        pytest.param(lambda: upper_bound(5, 10, math.nan), id="confidence-nan"),
        pytest.param(lambda: passes(math.nan, 5, 10, 0.95), id="limit-nan"),
        pytest.param(lambda: passes(math.inf, 5, 10, 0.95), id="limit-infinite"),
        pytest.param(lambda: passes(-0.1, 5, 10, 0.95), id="limit-below-0"),
        pytest.param(lambda: passes(1.5, 5, 10, 0.95), id="limit-above-1"),
        pytest.param(lambda: smallest_n_that_can_pass(1, 0.95), id="perfection"),
        pytest.param(lambda: smallest_n_that_can_pass(0, 0.95, "at_most"), id="absence"),
        pytest.param(lambda: misses_allowed(0.5, 0, 0.95), id="misses-of-none"),
        pytest.param(lambda: power(0.5, math.nan, 10, 0.95), id="truth-nan"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(call):
    with pytest.raises(ValueError, match=r"\.$"):
        call()
