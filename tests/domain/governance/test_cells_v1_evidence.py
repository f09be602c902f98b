"""The cells of a rule over all evaluations: each must exist, and none may fail."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.evidence.suites import MetricKind
from app.domain.governance.findings import CellRef, Outcome
from app.domain.governance.policies import Margins
from tests.support.evidence import (
    LOCALES,
    NOW,
    ONE_CELL,
    PERSONAS,
    TONE,
    a_cell,
    a_key,
    a_reference,
    a_rule,
    a_scored_evaluation,
    a_suite,
    an_evaluation,
    an_id,
    every_key,
    shares,
    the_base,
    the_findings,
)

PASSED, FAILED, MISSING = Outcome.PASSED, Outcome.FAILED, Outcome.MISSING
OLD = timedelta(days=1)


def test_every_persona_and_locale_of_a_rule_is_a_separate_cell():
    found = the_findings(a_rule(), an_evaluation())

    assert {finding.cell for finding in found} == {
        CellRef(persona, locale) for persona in PERSONAS for locale in LOCALES
    }
    assert [finding.outcome for finding in found] == [PASSED] * 4


@pytest.mark.parametrize(
    "evaluations", [[], [an_evaluation(partial=True)]], ids=["none", "partial"]
)
def test_a_cell_that_no_complete_evaluation_measured_is_missing(evaluations):
    for finding in the_findings(a_rule(), *evaluations):
        assert finding.outcome is MISSING
        assert finding.blocks


def test_a_cell_is_missing_however_good_the_others_are():
    rest = dict.fromkeys(every_key()[1:], a_cell(1.0, 10_000))

    outcomes = [finding.outcome for finding in the_findings(a_rule(), an_evaluation(cells=rest))]

    assert outcomes == [MISSING, PASSED, PASSED, PASSED]


def test_cells_may_be_measured_by_several_evaluations():
    first, *others = every_key()

    found = the_findings(
        a_rule(),
        an_evaluation("one", cells={first: a_cell()}),
        an_evaluation("rest", cells=dict.fromkeys(others, a_cell())),
    )

    assert [finding.evaluation for finding in found] == [an_id("one")] + [an_id("rest")] * 3


def test_running_again_until_green_does_not_help():
    bad = an_evaluation("bad", cells=a_cell(0.5), finished_at=NOW - OLD)
    good = [an_evaluation(n, cells=a_cell(1.0), finished_at=NOW) for n in range(5)]

    for finding in the_findings(a_rule(), *good, bad):
        assert (finding.outcome, finding.evaluation) == (FAILED, bad.id)


def test_a_small_evaluation_fails_beside_a_large_one():
    small = an_evaluation("small", cells=a_cell(1.0, 99))

    for finding in the_findings(a_rule(), an_evaluation(), small):
        assert (finding.outcome, finding.samples) == (FAILED, 99)


def test_a_disqualified_evaluation_never_satisfies():
    perfect = an_evaluation(cells=a_cell(1.0, 10_000))

    for finding in the_findings(a_rule(), perfect, disqualified={perfect.id: "is too old"}):
        assert finding.outcome is FAILED


def test_the_failure_of_a_disqualified_evaluation_counts():
    bad = an_evaluation("bad", cells=a_cell(0.5))

    for finding in the_findings(
        a_rule(), an_evaluation(), bad, disqualified={bad.id: "is too old"}
    ):
        assert (finding.outcome, finding.evaluation) == (FAILED, bad.id)


def test_one_qualified_evaluation_is_enough_beside_disqualified_ones():
    old = an_evaluation("old", finished_at=NOW - 9 * OLD)

    for finding in the_findings(
        a_rule(), old, an_evaluation(), disqualified={old.id: "is too old"}
    ):
        assert (finding.outcome, finding.evaluation) == (PASSED, an_id("first"))


def test_both_limits_of_a_rule_are_separate_demands():
    rule = a_rule(**ONE_CELL, at_least=0.85, at_most=0.9)

    found = the_findings(rule, an_evaluation())

    assert [(finding.demand, finding.outcome) for finding in found] == [
        ("at_least", PASSED),
        ("at_most", FAILED),
    ]


COMPARISON = {"at_least": None, **ONE_CELL}


def outcomes(margins, *evaluations, incumbent=None, base=None, **rule):
    compared = a_rule(**COMPARISON | rule, no_worse_than=margins)
    found = the_findings(compared, *evaluations, incumbent=incumbent, base=base)
    return [(finding.demand, finding.outcome) for finding in found]


MEASURED = a_scored_evaluation("measured")


@pytest.mark.parametrize(
    ("incumbent", "outcome"),
    [
        pytest.param(None, Outcome.NOT_APPLICABLE, id="no-incumbent"),
        pytest.param(a_reference(), FAILED, id="an-incumbent-without-evidence"),
        pytest.param(a_reference(MEASURED), PASSED, id="an-incumbent-as-good"),
    ],
)
def test_a_comparison_without_an_incumbent_does_not_apply(incumbent, outcome):
    found = outcomes(Margins(incumbent=0.05), a_scored_evaluation(), incumbent=incumbent)

    assert found == [("samples", PASSED), ("incumbent", outcome)]


def test_a_comparison_that_does_not_apply_carries_its_margin():
    rule = a_rule(**COMPARISON, no_worse_than=Margins(incumbent=0.05))

    *_, finding = the_findings(rule, a_scored_evaluation())

    assert (finding.margin, finding.bound, finding.evaluation) == (0.05, None, None)


@pytest.mark.parametrize("incumbent", [None, a_reference(MEASURED)], ids=["none", "one"])
@pytest.mark.parametrize(
    ("base", "outcome"),
    [pytest.param([], FAILED, id="no-control"), pytest.param([MEASURED], PASSED, id="control")],
)
def test_a_comparison_with_the_base_always_takes_a_control_run(incumbent, base, outcome):
    margins, base = Margins(base=0.05), the_base(*base)

    found = outcomes(margins, a_scored_evaluation(), incumbent=incumbent, base=base)

    assert found == [("samples", PASSED), ("base", outcome)]


def test_a_comparison_is_missing_if_only_other_cells_were_measured():
    rest = dict.fromkeys(every_key()[1:], a_cell())

    found = outcomes(
        Margins(0.05, 0.05),
        an_evaluation(cells=rest),
        incumbent=a_reference(MEASURED),
        base=the_base(MEASURED),
    )

    assert found == [("samples", MISSING), ("incumbent", MISSING), ("base", MISSING)]


def test_both_comparisons_stand_beside_the_limits():
    found = outcomes(Margins(0.02, 0.05), an_evaluation(), at_least=0.85)

    assert [demand for demand, _ in found] == ["at_least", "incumbent", "base"]


def test_a_comparison_of_an_unmeasured_cell_is_missing():
    found = outcomes(Margins(0.05, 0.05), incumbent=a_reference(MEASURED), base=the_base(MEASURED))

    assert found == [("samples", MISSING), ("incumbent", MISSING), ("base", MISSING)]


@pytest.mark.parametrize("demand", ["incumbent", "base"])
@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        pytest.param({"min_samples": 60}, PASSED, id="enough"),
        pytest.param({"min_samples": 61}, FAILED, id="too-few-pairs"),
        pytest.param({"min_samples": None}, PASSED, id="any-number"),
        pytest.param({"min_samples": 60, "confidence": 0.99}, FAILED, id="more-confidence"),
    ],
)
def test_a_comparison_takes_the_samples_and_the_confidence_of_its_rule(demand, rule, outcome):
    """Of the candidate's 66 samples 60 pair, which at 95 % is just enough for 0.05."""
    reference = a_scored_evaluation("reference", shares(60, 60))
    compared = a_rule(**COMPARISON | rule, no_worse_than=Margins(**{demand: 0.05}))

    *_, finding = the_findings(
        compared,
        a_scored_evaluation(values=shares(66, 66)),
        incumbent=a_reference(reference),
        base=the_base(reference),
    )

    assert (finding.demand, finding.outcome, finding.samples) == (demand, outcome, 60)


def test_comparing_again_until_green_does_not_help():
    worse = a_scored_evaluation("worse", shares(80), finished_at=NOW - 2 * OLD)
    better = a_scored_evaluation("better")
    rule = a_rule(**COMPARISON, no_worse_than=Margins(incumbent=0.05))

    *_, finding = the_findings(rule, better, worse, incumbent=a_reference(MEASURED))

    assert (finding.outcome, finding.evaluation) == (FAILED, worse.id)


def test_a_disqualified_evaluation_never_satisfies_a_comparison_either():
    rule = a_rule(**COMPARISON, no_worse_than=Margins(incumbent=0.05))
    again = a_scored_evaluation("again", finished_at=NOW)
    reasons = {a_scored_evaluation().id: "is too old"}
    incumbent = a_reference(MEASURED)

    *_, alone = the_findings(rule, a_scored_evaluation(), incumbent=incumbent, disqualified=reasons)
    *_, beside = the_findings(
        rule, a_scored_evaluation(), again, incumbent=incumbent, disqualified=reasons
    )

    assert (alone.outcome, beside.outcome) == (FAILED, PASSED)
    assert alone.message == (
        "tone for novice/en was measured, but the evaluation is too old; record another."
    )
    assert beside.evaluation == again.id


def test_a_comparison_that_does_not_apply_still_demands_the_cell():
    """Otherwise the first version on a channel would need no evidence."""
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
def test_a_rule_without_cells_is_never_satisfied(gap):
    (finding,) = the_findings(a_rule(**{gap: ()}), an_evaluation())

    assert finding.blocks
    assert finding.message == (
        "The rule names no cell, so nothing can satisfy it; name personas and locales."
    )


def test_each_evaluation_is_tested_by_its_own_version_of_the_suite():
    """A metric that was a mean in an older version of the suite is tested as a mean there."""
    older = a_suite(version="2", metrics=(replace(TONE, kind=MetricKind.MEAN),))

    for finding in the_findings(a_rule(), an_evaluation(suite=older)):
        assert "a bound on a mean needs 30 samples and a stderr" in finding.message


def test_a_comparison_reads_the_runs_with_samples_beside_aggregates():
    """Aggregates cannot be paired, and a run that has samples speaks in their place."""
    aggregates = an_evaluation("aggregates", cells={a_key(): a_cell(mean=1.0)})
    margins = Margins(incumbent=0.05)
    incumbent = a_reference(MEASURED)

    alone = outcomes(margins, aggregates, incumbent=incumbent)
    beside = outcomes(margins, aggregates, a_scored_evaluation(), incumbent=incumbent)

    assert alone[-1] == ("incumbent", FAILED)
    assert beside[-1] == ("incumbent", PASSED)
