"""Decisions as tables of persona by locale, and comparisons as intervals."""

from datetime import UTC, datetime

import pytest

from app.db.score_history import Run
from app.domain.evidence.evaluation import CellKey
from app.domain.governance.candidates import VersionRef
from app.domain.governance.findings import CellRef, Finding, Outcome
from app.domain.governance.gate import (
    GATE,
    Decision,
    EvaluationRef,
    EvidenceRole,
    GateResult,
    PolicyRef,
)
from app.pages.presentation.heatmap import artifact_findings, comparisons, rule_views
from tests.support.evidence import a_digest, an_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_finding(outcome=Outcome.PASSED, persona="novice", locale="en", **changes):
    cell = CellRef(persona, locale)
    fields = {"demand": "at_least", "observed": 0.95, "bound": 0.93, "demanded": 0.85}
    return Finding("s/tone", 2, outcome, "the message", **{"cell": cell} | fields | changes)


def test_a_cell_shows_its_worst_outcome():
    found = [
        a_finding(),
        a_finding(Outcome.NOT_APPLICABLE, demand="incumbent"),
        a_finding(Outcome.FAILED, demand="base"),
    ]
    (view,) = rule_views(found)
    cell = view.cells["novice", "en"]
    assert (cell.outcome, cell.sign, cell.word) == (Outcome.FAILED, "✗", "fails")
    assert cell.limit.demand == "at_least"
    assert (view.passing, len(view.blocking)) == (0, 1)


def test_personas_are_rows_and_locales_columns_in_the_order_of_the_policy():
    cells = [("upset", "de"), ("upset", "en"), ("novice", "de")]
    (view,) = rule_views([a_finding(persona=who, locale=where) for who, where in cells])
    assert (view.personas, view.locales) == (["upset", "novice"], ["de", "en"])
    assert ("novice", "en") not in view.cells


@pytest.mark.parametrize(
    ("bound", "demand", "demanded", "shade"),
    [
        pytest.param(0.86, "at_least", 0.85, "close", id="passed-by-little"),
        pytest.param(0.95, "at_least", 0.85, "clear", id="passed-by-much"),
        pytest.param(0.84, "at_least", 0.85, "close", id="failed-by-little"),
        pytest.param(0.049, "at_most", 0.05, "close", id="from-below"),
        pytest.param(0.01, "at_most", 0.05, "clear", id="far-below"),
        pytest.param(None, "at_least", 0.85, "clear", id="without-a-bound"),
    ],
)
def test_a_cell_near_its_limit_is_paler(bound, demand, demanded, shade):
    (view,) = rule_views([a_finding(bound=bound, demand=demand, demanded=demanded)])
    assert view.cells["novice", "en"].shade == shade


def test_a_rule_without_cells_says_why_it_blocks():
    (view,) = rule_views([a_finding(Outcome.MISSING, cell=None, demand=None)])
    assert [finding.message for finding in view.blocking] == ["the message"]


def test_findings_on_the_artifact_are_separate_from_cells():
    fact = a_finding(demand="fact", cell=None)
    assert artifact_findings([fact, a_finding()]) == [fact]
    assert len(rule_views([fact, a_finding()])) == 1


def the_comparison(finding, *runs):
    refs = tuple(EvaluationRef(run.id, a_digest(run.id), of) for run, of in runs)
    policy, version = PolicyRef("p", 1, a_digest("p")), VersionRef(2, a_digest("v"))
    decision = Decision(GateResult.PASSED, NOW, policy, (version,), None, refs, (finding,), GATE)
    (view,) = rule_views(decision.findings)
    (compared,) = comparisons(view, finding.demand, decision, {run.id: run for run, _ in runs})
    return compared


def a_run(name, mean, suite="s"):
    return Run(an_id(name), "evaluator", suite, NOW, {CellKey("tone", "novice", "en"): mean})


def test_a_comparison_shows_the_range_of_several_runs():
    finding = a_finding(demand="incumbent", observed=0.02, bound=-0.01, demanded=-0.05)
    compared = the_comparison(
        finding,
        (a_run("one", 0.9), EvidenceRole.CANDIDATE),
        (a_run("two", 0.92), EvidenceRole.CANDIDATE),
        (a_run("live", 0.89), EvidenceRole.INCUMBENT),
        (a_run("other", 0.1, suite="t"), EvidenceRole.INCUMBENT),
    )
    assert (compared.candidate, compared.reference) == ("0.900 … 0.920", "0.890")
    whisker = compared.whisker
    assert whisker.margin < whisker.start < 50 < whisker.point < whisker.end == 100


def test_where_lower_is_better_the_interval_opens_to_the_left():
    finding = a_finding(demand="base", observed=-0.02, bound=0.01, demanded=0.05)
    whisker = the_comparison(finding).whisker
    assert whisker.start == 0 < whisker.point < 50 < whisker.end < whisker.margin


def test_without_a_bound_nothing_is_drawn():
    compared = the_comparison(a_finding(demand="base", bound=None))
    assert (compared.whisker, compared.candidate) == (None, "–")
