"""One measured cell against a limit: the exact test, the t test, and cells that allow neither."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from app.domain.governance.findings import Outcome
from app.domain.statistics.means import SMALLEST_SAMPLE
from tests.support.evidence import a_cell, the_finding

PASSED, FAILED, MISSING = Outcome.PASSED, Outcome.FAILED, Outcome.MISSING


def lower_bound_by_scipy(successes, samples):
    test = stats.binomtest(successes, samples, alternative="greater")
    return test.proportion_ci(0.95, method="exact").low


@pytest.mark.parametrize(
    ("successes", "outcome"),
    [
        pytest.param(91, FAILED, id="one-too-few"),
        pytest.param(92, PASSED, id="enough"),
        pytest.param(100, PASSED, id="all"),
        pytest.param(85, FAILED, id="the-limit-itself-proves-nothing"),
    ],
)
def test_a_proportion_passes_when_the_exact_binomial_test_refutes_the_limit(successes, outcome):
    """Clopper & Pearson 1934, by SciPy: 92 of 100 is the least that shows 0.85 at 95 %."""
    finding = the_finding(a_cell(successes / 100, 100))

    test = stats.binomtest(successes, 100, 0.85, alternative="greater")
    assert finding.outcome is outcome
    assert (test.pvalue <= 0.05) == (outcome is PASSED)
    assert finding.bound == pytest.approx(lower_bound_by_scipy(successes, 100), rel=1e-9)


@pytest.mark.parametrize(
    ("successes", "outcome"),
    [
        pytest.param(0, PASSED, id="none"),
        pytest.param(4, PASSED, id="few"),
        pytest.param(5, FAILED, id="one-too-many"),
    ],
)
def test_an_upper_limit_holds_the_upper_bound_against_it(successes, outcome):
    rule = {"at_least": None, "at_most": 0.05, "min_samples": 200}

    finding = the_finding(a_cell(successes / 200, 200), "toxicity", **rule)

    test = stats.binomtest(successes, 200, 0.05, alternative="less")
    assert finding.outcome is outcome
    assert (test.pvalue <= 0.05) == (outcome is PASSED)
    bound = test.proportion_ci(0.95, method="exact").high
    assert finding.bound == pytest.approx(bound, rel=1e-9)


def test_a_bound_that_just_reaches_the_limit_passes():
    upper = {"min_samples": 100, "at_least": None}
    lowest = the_finding(a_cell(0.95, 100)).bound
    highest = the_finding(a_cell(0.05, 100), "toxicity", **upper, at_most=0.5).bound

    assert the_finding(a_cell(0.95, 100), at_least=lowest).outcome is PASSED
    at_the_limit = the_finding(a_cell(0.05, 100), "toxicity", **upper, at_most=highest)
    assert at_the_limit.outcome is PASSED


def test_more_confidence_takes_more_evidence():
    assert the_finding(a_cell(0.93, 100)).outcome is PASSED
    assert the_finding(a_cell(0.93, 100), confidence=0.99).outcome is FAILED


def test_a_rounded_proportion_counts_as_the_worse_count_for_the_candidate():
    # 0.85645 of 10,000 can be 8,560 to 8,569 successes; the limit is what 8,562 show.
    limit = lower_bound_by_scipy(8_562, 10_000)

    rounded = the_finding(a_cell(0.85645, 10_000), at_least=limit)
    exact = the_finding(a_cell(0.8564, 10_000), at_least=limit)

    assert (rounded.outcome, exact.outcome) == (FAILED, PASSED)


def test_a_rounded_proportion_counts_as_its_greatest_count_under_an_upper_limit():
    rule = {"at_least": None, "at_most": 0.05, "min_samples": 200}

    rounded = the_finding(a_cell(0.04605, 10_000), "toxicity", **rule)
    exact = the_finding(a_cell(0.0460, 10_000), "toxicity", **rule)

    assert rounded.bound == pytest.approx(
        stats.binomtest(465, 10_000).proportion_ci(0.9, method="exact").high, rel=1e-9
    )
    assert exact.bound < rounded.bound


@pytest.mark.parametrize(
    ("metric", "limit"),
    [
        pytest.param("bleu", {"at_least": 30}, id="at-least"),
        pytest.param("latency", {"at_least": None, "at_most": 32}, id="at-most"),
    ],
)
def test_a_mean_is_tested_by_students_t(metric, limit):
    finding = the_finding(a_cell(31.0, 50, 0.5), metric, min_samples=50, **limit)

    side = -1 if metric == "bleu" else 1
    bound = 31 + side * stats.t.ppf(0.95, 49) * 0.5
    assert finding.outcome is PASSED
    assert finding.bound == pytest.approx(bound, rel=1e-9)


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(a_cell(90.0, SMALLEST_SAMPLE - 1, 0.1), id="too-few"),
        pytest.param(a_cell(90.0, 200), id="no-stderr"),
        pytest.param(a_cell(90.0, 200, math.nan), id="nan-stderr"),
        pytest.param(a_cell(90.0, 200, math.inf), id="infinite-stderr"),
        pytest.param(a_cell(90.0, 200, -1.0), id="negative-stderr"),
        pytest.param(a_cell(90.0, 200, 1.7e308), id="stderr-whose-bound-is-infinite"),
    ],
)
def test_a_mean_of_unknown_spread_cannot_be_tested(cell):
    finding = the_finding(cell, "bleu", min_samples=None, at_least=30)

    assert (finding.outcome, finding.bound) == (FAILED, None)
    assert finding.message == (
        "bleu for novice/en cannot be tested: a bound on a mean needs 30 samples and a stderr, "
        f"and there are {cell.samples} samples."
    )


def test_equal_scores_throughout_do_not_make_a_mean_certain():
    in_a_range = the_finding(a_cell(90.0, 100, 0.0), "bleu", at_least=89)
    in_none = the_finding(a_cell(90.0, 100, 0.0), "latency", at_least=None, at_most=1e9)

    assert in_a_range.outcome is FAILED
    assert in_a_range.bound == pytest.approx(90 * 0.05 ** (1 / 100))
    assert (in_none.outcome, in_none.bound) == (FAILED, None)


@pytest.mark.parametrize(
    ("metric", "cell"),
    [
        pytest.param("tone", a_cell(math.nan), id="nan"),
        pytest.param("tone", a_cell(math.inf), id="infinite"),
        pytest.param("tone", a_cell(1.5), id="above-one"),
        pytest.param("tone", a_cell(-0.5), id="below-zero"),
        pytest.param("tone", a_cell(0.9973, 101), id="no-number-of-successes"),
        pytest.param("bleu", a_cell(math.nan, 200, 0.1), id="nan-mean"),
        pytest.param("bleu", a_cell(100.1, 200, 0.1), id="above-the-maximum"),
        pytest.param("wit", a_cell(), id="a-metric-that-the-suite-lacks"),
    ],
)
def test_a_cell_that_should_never_have_been_recorded_fails(metric, cell):
    finding = the_finding(cell, metric, min_samples=None, at_least=0.5)

    assert (finding.outcome, finding.bound) == (FAILED, None)
    assert finding.message.startswith(f"{metric} for novice/en")


@pytest.mark.parametrize("min_samples", [None, 0])
@pytest.mark.parametrize("samples", [0, -1])
@pytest.mark.parametrize("metric", ["tone", "bleu"])
def test_a_cell_without_samples_fails(metric, samples, min_samples):
    finding = the_finding(a_cell(1.0, samples, 0.1), metric, min_samples=min_samples)

    assert finding.outcome is FAILED


any_cell = st.builds(
    a_cell,
    st.floats() | st.sampled_from([0.0, 1.0]),
    st.integers(-5, 10**6),
    st.none() | st.floats(),
)


@given(
    cell=any_cell,
    metric=st.sampled_from(["tone", "toxicity", "bleu", "latency"]),
    limit=st.sampled_from(["at_least", "at_most"]),
    value=st.floats(0.01, 0.99),
    min_samples=st.none() | st.integers(1, 1_000),
)
def test_the_gate_handles_any_cell_and_passes_only_sound_ones(
    cell, metric, limit, value, min_samples
):
    rule = {"at_least": None, limit: value, "min_samples": min_samples}

    finding = the_finding(cell, metric, **rule)

    if finding.outcome is PASSED:
        assert math.isfinite(cell.mean)
        assert cell.samples >= (min_samples or 1)
        better = finding.bound >= value if limit == "at_least" else finding.bound <= value
        assert better
    else:
        assert finding.outcome is FAILED
    numbers = (finding.observed, finding.bound)
    assert all(number is None or math.isfinite(number) for number in numbers)
