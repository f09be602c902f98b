"""The distribution functions agree with SciPy's over wide ranges and refuse nonsense."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from app.domain.statistics.distributions import (
    binomial_lower_tail,
    binomial_upper_tail,
    normal_quantile,
    student_t_quantile,
    student_t_sf,
)
from app.domain.statistics.incomplete_beta import beta_cdf, beta_quantile

AGREE = 1e-9
SHAPES = [0.5, 1, 2.5, 14.5, 15.5, 1e3, 1e6]


@pytest.mark.parametrize("a", SHAPES)
@pytest.mark.parametrize("b", SHAPES)
@pytest.mark.parametrize("p", [1e-12, 1e-6, 0.01, 0.05, 0.5, 0.95, 0.999])
def test_the_beta_quantile_and_cdf_agree_with_scipy(a, b, p):
    x = stats.beta.ppf(p, a, b)

    assert beta_quantile(p, a, b) == pytest.approx(x, rel=AGREE, abs=0)
    assert beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), rel=AGREE, abs=0)


@pytest.mark.parametrize(
    ("k", "n", "p"),
    [
        pytest.param(1, 1, 0.5, id="one-sample"),
        pytest.param(59, 59, 0.95, id="no-miss"),
        pytest.param(3, 1_000_000, 1e-6, id="rare"),
        pytest.param(999_990, 1_000_000, 0.99999, id="nearly-always"),
        pytest.param(501_000, 1_000_000, 0.5, id="large"),
        pytest.param(900, 1_000, 0.1, id="far-tail"),
        pytest.param(0, 10, 0.0, id="impossible-success"),
        pytest.param(10, 10, 1.0, id="certain-success"),
    ],
)
def test_binomial_tails_agree_with_scipy(k, n, p):
    upper, lower = stats.binom.sf(k - 1, n, p), stats.binom.cdf(k, n, p)

    assert binomial_upper_tail(k, n, p) == pytest.approx(upper, rel=AGREE, abs=0)
    assert binomial_lower_tail(k, n, p) == pytest.approx(lower, rel=AGREE, abs=0)


@given(data=st.data(), n=st.integers(1, 10**6), p=st.floats(0, 1))
def test_binomial_tails_agree_with_scipy_everywhere(data, n, p):
    k = data.draw(st.integers(-1, n + 1))

    upper, lower = binomial_upper_tail(k, n, p), binomial_lower_tail(k, n, p)

    # SciPy's own tails below 1e-250 differ between platforms.
    assert upper == pytest.approx(stats.binom.sf(k - 1, n, p), rel=AGREE, abs=1e-250)
    assert lower == pytest.approx(stats.binom.cdf(k, n, p), rel=AGREE, abs=1e-250)


@given(t=st.floats(-1e4, 1e4), df=st.floats(1, 1e6))
def test_student_t_agrees_with_scipy(t, df):
    assert student_t_sf(t, df) == pytest.approx(stats.t.sf(t, df), rel=AGREE, abs=1e-250)
    assert student_t_sf(-t, df) == pytest.approx(stats.t.cdf(t, df), rel=AGREE, abs=1e-250)


@given(p=st.floats(1e-12, 1 - 1e-6), df=st.floats(1, 1e6))
def test_student_t_quantiles_agree_with_scipy(p, df):
    assert student_t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=AGREE, abs=1e-9)


def test_student_t_has_the_quantile_printed_in_every_table():
    assert round(student_t_quantile(0.95, 29), 3) == 1.699
    assert student_t_quantile(0.5, 29) == 0


def test_the_smallest_arguments_of_student_t_cause_no_division_by_zero():
    assert student_t_sf(1e-200, 5) == 0.5


@given(p=st.floats(1e-100, 1 - 1e-9))
def test_normal_quantiles_agree_with_scipy(p):
    assert normal_quantile(p) == pytest.approx(stats.norm.ppf(p), rel=AGREE, abs=1e-15)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: beta_cdf(1.1, 1, 1), id="beta-argument-above-1"),
        pytest.param(lambda: beta_cdf(math.nan, 1, 1), id="beta-argument-nan"),
        pytest.param(lambda: beta_cdf(0.5, 0, 1), id="beta-shape-zero"),
        pytest.param(lambda: beta_quantile(0.5, 1, math.inf), id="beta-shape-infinite"),
        pytest.param(lambda: beta_quantile(0.0, 1, 1), id="beta-quantile-of-zero"),
        pytest.param(lambda: binomial_upper_tail(0, 0, 0.5), id="binomial-without-samples"),
        pytest.param(lambda: binomial_lower_tail(1, 2, math.nan), id="binomial-nan"),
        pytest.param(lambda: normal_quantile(1), id="normal-quantile-of-one"),
        pytest.param(lambda: student_t_sf(math.inf, 5), id="t-infinite"),
        pytest.param(lambda: student_t_sf(1, 0.5), id="t-without-freedom"),
        pytest.param(lambda: student_t_quantile(math.nan, 5), id="t-quantile-of-nan"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(call):
    with pytest.raises(ValueError, match=r"\.$"):
        call()
