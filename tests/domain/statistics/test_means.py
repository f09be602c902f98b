"""Student's t bounds, and the treatment of samples that are too few or all equal."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from app.domain.statistics import proportions
from app.domain.statistics.means import SMALLEST_SAMPLE, lower_bound, upper_bound

NUMBERS = st.floats(-1e6, 1e6)


@given(
    n=st.integers(30, 10**6),
    mean=NUMBERS,
    stderr=st.floats(1e-6, 1e6),
    confidence=st.sampled_from([0.8, 0.95, 0.99]),
)
def test_bounds_agree_with_scipy(n, mean, stderr, confidence):
    lower, upper = (stats.t.ppf(p, n - 1, mean, stderr) for p in (1 - confidence, confidence))

    assert lower_bound(n, mean, stderr, confidence) == pytest.approx(lower, rel=1e-9, abs=1e-9)
    assert upper_bound(n, mean, stderr, confidence) == pytest.approx(upper, rel=1e-9, abs=1e-9)


def test_the_bound_is_that_of_scipys_one_sided_test():
    scores = np.random.default_rng(1).normal(3, 2, size=40)

    bound = lower_bound(40, scores.mean(), scores.std(ddof=1) / math.sqrt(40), 0.95)

    assert stats.ttest_1samp(scores, bound, alternative="greater").pvalue == pytest.approx(0.05)


def test_fewer_than_thirty_samples_have_no_bound():
    assert lower_bound(SMALLEST_SAMPLE - 1, 0.9, 0.01, 0.95) is None
    assert upper_bound(SMALLEST_SAMPLE - 1, 0.9, 0.01, 0.95, worst=1) is None
    assert lower_bound(SMALLEST_SAMPLE, 0.9, 0.01, 0.95) is not None


def test_equal_scores_without_a_known_range_have_no_bound():
    assert lower_bound(1000, 0.9, 0, 0.95) is None
    assert upper_bound(1000, 0.9, 0, 0.95) is None


@given(n=st.integers(30, 10**5), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_equal_scores_show_what_a_proportion_without_a_miss_shows(n, confidence):
    lower = lower_bound(n, 1, 0, confidence, worst=0)
    upper = upper_bound(n, 0, 0, confidence, worst=1)

    assert lower == pytest.approx(proportions.lower_bound(n, n, confidence), abs=1e-11)
    assert upper == pytest.approx(proportions.upper_bound(0, n, confidence), abs=1e-11)


@given(mean=NUMBERS, better=NUMBERS, stderr=st.floats(0.01, 10))
def test_a_higher_mean_never_has_a_lower_bound(mean, better, stderr):
    low, high = sorted((mean, better))

    assert lower_bound(50, high, stderr, 0.95) >= lower_bound(50, low, stderr, 0.95)
    assert upper_bound(50, high, stderr, 0.95) >= upper_bound(50, low, stderr, 0.95)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: lower_bound(0, 1, 1, 0.95), id="no-samples"),
        pytest.param(lambda: lower_bound(30, math.nan, 1, 0.95), id="mean-nan"),
        pytest.param(lambda: lower_bound(30, 1, math.inf, 0.95), id="stderr-infinite"),
        pytest.param(lambda: upper_bound(30, 1, -1, 0.95), id="stderr-negative"),
        pytest.param(lambda: upper_bound(30, 1, 1, 1), id="certainty"),
        pytest.param(lambda: lower_bound(30, 1, 0, 0.95, worst=2), id="worst-is-better"),
        pytest.param(lambda: lower_bound(30, 1, 0, 0.95, worst=-math.inf), id="worst-infinite"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(call):
    with pytest.raises(ValueError, match=r"\.$"):
        call()
