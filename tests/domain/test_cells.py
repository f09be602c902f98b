"""One rule against its cells: what passes, what fails, and the sentence that says why."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from app.domain.cells import CellRef, Outcome, rule_findings
from app.domain.policies import Margins
from app.domain.statistics.means import SMALLEST_SAMPLE
from app.domain.suites import MetricKind
from tests.evidence import (
    LOCALES,
    NOW,
    PERSONAS,
    TONE,
    a_cell,
    a_key,
    a_rule,
    a_suite,
    an_evaluation,
    an_id,
    every_key,
)

PASSED, FAILED, MISSING = Outcome.PASSED, Outcome.FAILED, Outcome.MISSING
ONE_CELL = {"personas": ("novice",), "locales": ("en",)}
OLD = timedelta(days=1)


def findings(rule, *evaluations, incumbent=None, disqualified=None):
    """Return the findings of version 2; `disqualified` gives the reason by evaluation id."""
    reasons = disqualified or {}
    return list(
        rule_findings(
            rule,
            evaluations,
            version=2,
            incumbent=incumbent,
            disqualify=lambda evaluation: reasons.get(evaluation.id),
        )
    )


def the_finding(cell, metric="tone", **rule):
    """Return the one finding about a single measured cell."""
    evaluation = an_evaluation(cells={a_key(metric): cell})
    (finding,) = findings(a_rule(metric, **ONE_CELL, **rule), evaluation)
    return finding


def lower_bound_by_scipy(successes, samples):
    test = stats.binomtest(successes, samples, alternative="greater")
    return test.proportion_ci(0.95, method="exact").low


def test_every_persona_and_locale_named_is_a_cell_of_its_own():
    found = findings(a_rule(), an_evaluation())

    assert {finding.cell for finding in found} == {
        CellRef(persona, locale) for persona in PERSONAS for locale in LOCALES
    }
    assert [finding.outcome for finding in found] == [PASSED] * 4


@pytest.mark.parametrize(
    ("successes", "outcome"),
    [
        pytest.param(91, FAILED, id="one-too-few"),
        pytest.param(92, PASSED, id="enough"),
        pytest.param(100, PASSED, id="all"),
        pytest.param(85, FAILED, id="the-limit-itself-shows-nothing"),
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


def test_more_confidence_takes_more_evidence():
    assert the_finding(a_cell(0.93, 100)).outcome is PASSED
    assert the_finding(a_cell(0.93, 100), confidence=0.99).outcome is FAILED


def test_a_rounded_proportion_is_judged_by_the_count_that_is_worse_for_the_candidate():
    # 0.85645 of 10,000 can be 8,560 to 8,569 successes; the limit is what 8,562 show.
    limit = lower_bound_by_scipy(8_562, 10_000)

    rounded = the_finding(a_cell(0.85645, 10_000), at_least=limit)
    exact = the_finding(a_cell(0.8564, 10_000), at_least=limit)

    assert (rounded.outcome, exact.outcome) == (FAILED, PASSED)


def test_a_rounded_proportion_is_judged_by_its_greatest_count_under_an_upper_limit():
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
def test_a_mean_is_judged_by_students_t(metric, limit):
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
def test_a_mean_whose_spread_is_not_known_cannot_be_tested(cell):
    finding = the_finding(cell, "bleu", min_samples=None, at_least=30)

    assert (finding.outcome, finding.bound) == (FAILED, None)
    assert finding.message == (
        "bleu for novice/en cannot be tested: it takes 30 samples and a stderr to bound a mean, "
        f"and there are {cell.samples}."
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


@pytest.mark.parametrize("samples", [0, -1])
def test_a_cell_without_samples_fails(samples):
    assert the_finding(a_cell(1.0, samples), min_samples=None).outcome is FAILED


@pytest.mark.parametrize(
    "evaluations", [[], [an_evaluation(partial=True)]], ids=["none", "partial"]
)
def test_a_cell_that_no_complete_evaluation_measured_is_missing(evaluations):
    for finding in findings(a_rule(), *evaluations):
        assert finding.outcome is MISSING
        assert finding.closes


def test_a_cell_is_missing_however_good_the_others_are():
    rest = dict.fromkeys(every_key()[1:], a_cell(1.0, 10_000))

    outcomes = [finding.outcome for finding in findings(a_rule(), an_evaluation(cells=rest))]

    assert outcomes == [MISSING, PASSED, PASSED, PASSED]


def test_cells_may_come_from_several_evaluations():
    first, *others = every_key()

    found = findings(
        a_rule(),
        an_evaluation("one", cells={first: a_cell()}),
        an_evaluation("rest", cells=dict.fromkeys(others, a_cell())),
    )

    assert [finding.evaluation for finding in found] == [an_id("one")] + [an_id("rest")] * 3


def test_running_again_until_green_does_not_help():
    bad = an_evaluation("bad", cells=a_cell(0.5), finished_at=NOW - OLD)
    good = [an_evaluation(n, cells=a_cell(1.0), finished_at=NOW) for n in range(5)]

    for finding in findings(a_rule(), *good, bad):
        assert (finding.outcome, finding.evaluation) == (FAILED, bad.id)


def test_a_small_evaluation_fails_beside_a_large_one():
    small = an_evaluation("small", cells=a_cell(1.0, 99))

    for finding in findings(a_rule(), an_evaluation(), small):
        assert (finding.outcome, finding.samples) == (FAILED, 99)


def test_a_disqualified_evaluation_never_satisfies():
    perfect = an_evaluation(cells=a_cell(1.0, 10_000))

    for finding in findings(a_rule(), perfect, disqualified={perfect.id: "is too old"}):
        assert finding.outcome is FAILED


def test_the_failure_of_a_disqualified_evaluation_counts():
    bad = an_evaluation("bad", cells=a_cell(0.5))

    for finding in findings(a_rule(), an_evaluation(), bad, disqualified={bad.id: "is too old"}):
        assert (finding.outcome, finding.evaluation) == (FAILED, bad.id)


def test_one_qualified_evaluation_is_enough_beside_disqualified_ones():
    old = an_evaluation("old", finished_at=NOW - 9 * OLD)

    for finding in findings(a_rule(), old, an_evaluation(), disqualified={old.id: "is too old"}):
        assert (finding.outcome, finding.evaluation) == (PASSED, an_id("first"))


def test_both_limits_of_a_rule_are_demands_of_their_own():
    rule = a_rule(**ONE_CELL, at_least=0.85, at_most=0.9)

    found = findings(rule, an_evaluation())

    assert [(finding.demand, finding.outcome) for finding in found] == [
        ("at_least", PASSED),
        ("at_most", FAILED),
    ]


COMPARISON = {"at_least": None, **ONE_CELL}


def outcomes(margins, *evaluations, incumbent=None, **rule):
    compared = a_rule(**COMPARISON | rule, no_worse_than=margins)
    found = findings(compared, *evaluations, incumbent=incumbent)
    return [(finding.demand, finding.outcome) for finding in found]


@pytest.mark.parametrize(
    ("incumbent", "outcome"),
    [
        pytest.param(None, Outcome.NOT_APPLICABLE, id="nothing-to-compare-with"),
        pytest.param(1, MISSING, id="an-incumbent-without-paired-samples"),
    ],
)
def test_a_comparison_without_an_incumbent_is_said_not_to_apply(incumbent, outcome):
    found = outcomes(Margins(incumbent=0.02), an_evaluation(), incumbent=incumbent)

    assert found == [("samples", PASSED), ("incumbent", outcome)]


@pytest.mark.parametrize("incumbent", [None, 1])
def test_a_comparison_with_the_base_always_takes_a_control_run(incumbent):
    found = outcomes(Margins(base=0.05), an_evaluation(), incumbent=incumbent)

    assert found == [("samples", PASSED), ("base", MISSING)]


def test_both_comparisons_stand_beside_the_limits():
    found = outcomes(Margins(0.02, 0.05), an_evaluation(), at_least=0.85)

    assert [demand for demand, _ in found] == ["at_least", "incumbent", "base"]


def test_a_comparison_that_does_not_apply_still_demands_the_cell():
    """Or the first version on a channel would need no evidence at all."""
    found = outcomes(Margins(incumbent=0.02))

    assert found == [("samples", MISSING), ("incumbent", Outcome.NOT_APPLICABLE)]


@pytest.mark.parametrize(
    ("samples", "min_samples", "outcome"),
    [
        pytest.param(100, 100, PASSED, id="enough"),
        pytest.param(99, 100, FAILED, id="too-few"),
        pytest.param(1, None, PASSED, id="any"),
    ],
)
def test_a_rule_that_only_compares_demands_its_samples_too(samples, min_samples, outcome):
    evaluation = an_evaluation(cells=a_cell(1.0, samples))

    found = outcomes(Margins(incumbent=0.02), evaluation, min_samples=min_samples)

    assert found[0] == ("samples", outcome)


@pytest.mark.parametrize("gap", ["personas", "locales"])
def test_a_rule_that_names_no_cell_is_satisfied_by_nothing(gap):
    (finding,) = findings(a_rule(**{gap: ()}), an_evaluation())

    assert finding.closes
    assert finding.message == (
        "The rule names no cell, so nothing can satisfy it; name personas and locales."
    )


@pytest.mark.parametrize(
    ("outcome", "closes"),
    [(PASSED, False), (FAILED, True), (MISSING, True), (Outcome.NOT_APPLICABLE, False)],
)
def test_all_but_what_passed_or_does_not_apply_keeps_the_gate_shut(outcome, closes):
    (finding,) = findings(a_rule(personas=()))

    assert type(finding)(finding.rule, 2, outcome, "").closes is closes


MESSAGES = [
    pytest.param(
        [an_evaluation()],
        {},
        "At 95 % confidence tone for novice/en is at least 0.9167; 0.85 was demanded.",
        id="passed",
    ),
    pytest.param(
        [an_evaluation(cells=a_cell(0.99, 1_000))],
        {"confidence": 0.999},
        "At 99.9 % confidence tone for novice/en is at least 0.976; 0.85 was demanded.",
        id="a-confidence-is-not-rounded-to-100-percent",
    ),
    pytest.param(
        [an_evaluation(cells=a_cell(0.86, 100))],
        {},
        "At 95 % confidence tone for novice/en is at least 0.7898 (0.86 over 100 samples), and "
        "0.85 was demanded; a better version or more samples would show it.",
        id="failed",
    ),
    pytest.param(
        [],
        {},
        "No complete evaluation measured tone for novice/en; record one with at least 100 samples.",
        id="missing",
    ),
    pytest.param(
        [],
        {"min_samples": None},
        "No complete evaluation measured tone for novice/en; record one.",
        id="missing-whatever-its-size",
    ),
    pytest.param(
        [an_evaluation(cells=a_cell(1.0, 99))],
        {},
        "tone for novice/en has 99 samples; the rule demands 100 in every evaluation of it.",
        id="too-few",
    ),
    pytest.param(
        [an_evaluation(cells=a_cell(math.nan))],
        {},
        "tone for novice/en is nan, which brand-voice@3 does not admit; void the evaluation.",
        id="nan",
    ),
    pytest.param(
        [an_evaluation(cells=a_cell(0.9973, 101))],
        {},
        "tone for novice/en cannot be tested: 0.9973 of 101 is no number of successes.",
        id="not-a-proportion",
    ),
]


@pytest.mark.parametrize(("evaluations", "rule", "message"), MESSAGES)
def test_a_finding_says_in_a_sentence_what_was_found_and_what_would_do(evaluations, rule, message):
    (finding,) = findings(a_rule(**ONE_CELL, **rule), *evaluations)

    assert finding.message == message


def test_a_disqualified_evaluation_is_told_why_it_does_not_count():
    evaluation = an_evaluation()
    rule = a_rule(**ONE_CELL)

    (finding,) = findings(rule, evaluation, disqualified={evaluation.id: "is of yesterday"})

    assert finding.message == (
        "tone for novice/en was measured, but the evaluation is of yesterday; record another."
    )


def test_a_finding_carries_the_numbers_behind_its_sentence():
    (finding,) = findings(a_rule(**ONE_CELL), an_evaluation())

    assert (finding.rule, finding.version, finding.demand) == ("brand-voice/tone", 2, "at_least")
    assert (finding.observed, finding.samples, finding.demanded) == (0.95, 200, 0.85)
    assert finding.bound == pytest.approx(lower_bound_by_scipy(190, 200))
    assert finding.evaluation == an_id("first")


def test_what_is_no_number_is_not_shown_as_one():
    assert the_finding(a_cell(math.nan)).observed is None


def test_each_evaluation_is_judged_by_its_own_version_of_the_suite():
    """What was a mean in an older version of the suite is tested as a mean."""
    older = a_suite(version="2", metrics=(replace(TONE, kind=MetricKind.MEAN),))

    for finding in findings(a_rule(), an_evaluation(suite=older)):
        assert "it takes 30 samples and a stderr to bound a mean" in finding.message


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
def test_no_cell_upsets_the_gate_and_only_a_sound_one_passes(
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
