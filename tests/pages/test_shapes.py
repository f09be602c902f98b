"""What pages are made from: decisions as tables, documents side by side, values in words."""

from datetime import UTC, datetime, timedelta

import pytest

from app.db.overview import Count
from app.db.score_history import Run
from app.domain.evidence.evaluation import CellKey
from app.domain.governance.findings import CellRef, Finding, Outcome
from app.domain.governance.gate import (
    Decision,
    EvaluationRef,
    EvidenceRole,
    GateResult,
    PolicyRef,
    VersionRef,
)
from app.domain.governance.policies import (
    Approvals,
    ArtifactDemand,
    Canary,
    CanaryApprovals,
    CardDemand,
    Contributor,
    EvidenceDemand,
    Margins,
)
from app.pages.presentation import formatting
from app.pages.presentation.differences import Difference, differences
from app.pages.presentation.heatmap import comparisons, facts, rule_views
from app.pages.presentation.policy_text import sentences
from tests.support.evidence import a_digest, a_policy_of, a_rule, an_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_finding(outcome=Outcome.PASSED, persona="novice", locale="en", **changes):
    cell = CellRef(persona, locale)
    facts = {"demand": "at_least", "observed": 0.95, "bound": 0.93, "demanded": 0.85}
    return Finding("s/tone", 2, outcome, "said", **{"cell": cell} | facts | changes)


def test_a_cell_is_as_bad_as_the_worst_that_was_found_of_it():
    found = [
        a_finding(),
        a_finding(Outcome.NOT_APPLICABLE, demand="incumbent"),
        a_finding(Outcome.FAILED, demand="base"),
    ]
    (view,) = rule_views(found)
    cell = view.cells["novice", "en"]
    assert (cell.outcome, cell.sign, cell.word) == (Outcome.FAILED, "✗", "fails")
    assert cell.limit.demand == "at_least"
    assert (view.passing, len(view.closing)) == (0, 1)


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


def test_a_rule_without_cells_says_why_it_is_shut():
    (view,) = rule_views([a_finding(Outcome.MISSING, cell=None, demand=None)])
    assert [finding.message for finding in view.closing] == ["said"]


def test_facts_are_told_from_cells():
    fact = a_finding(demand="fact", cell=None)
    assert facts([fact, a_finding()]) == [fact]
    assert len(rule_views([fact, a_finding()])) == 1


def the_comparison(finding, *runs):
    refs = tuple(EvaluationRef(run.id, a_digest(run.id), of) for run, of in runs)
    policy, version = PolicyRef("p", 1, a_digest("p")), VersionRef(2, a_digest("v"))
    decision = Decision(GateResult.PASSED, NOW, policy, (version,), None, refs, (finding,))
    (view,) = rule_views(decision.findings)
    (compared,) = comparisons(view, finding.demand, decision, {run.id: run for run, _ in runs})
    return compared


def a_run(name, mean, suite="s"):
    return Run(an_id(name), "evaluator", suite, NOW, {CellKey("tone", "novice", "en"): mean})


def test_a_candidate_stands_beside_its_reference_with_the_range_of_several_runs():
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


def test_documents_are_compared_path_by_path():
    before = {"a": 1, "gone": True, "list": ["x", "y"], "deep": {"b": None}}
    after = {"a": 2, "list": ["x", "y"], "deep": {"b": {}}, "rows": [{"n": 1}], "new": []}
    found = {each.path: each.kind for each in differences(before, after)}
    assert found == {
        "a": "changed",
        "list": "same",
        "deep.b": "same",
        "rows 1.n": "added",
        "new": "added",
        "gone": "removed",
    }
    assert differences(None, {"on": False}) == [Difference("on", "no", "no")]


@pytest.mark.parametrize(
    ("delta", "words"),
    [
        (timedelta(0), "just now"),
        (timedelta(minutes=-1), "1 minute ago"),
        (timedelta(hours=-5), "5 hours ago"),
        (timedelta(days=-400), "1 year ago"),
        (timedelta(days=3), "in 3 days"),
    ],
)
def test_times_are_said_from_now(delta, words):
    assert formatting.relative(NOW + delta, NOW) == words


def test_values_are_said_as_people_read_them():
    assert formatting.size(311) == "311 B"
    assert formatting.size(3 << 20) == "3.0 MiB"
    assert formatting.size(5 << 40) == "5120.0 GiB"
    assert formatting.number(31.2345) == "31.23"
    assert formatting.number(-0.01, signed=True) == "\N{MINUS SIGN}0.010"
    assert formatting.count(1, "entry") == "1 entry"
    assert formatting.count(2, "entry") == "2 entries"
    assert formatting.counted(Count(1234)) == "1,234"
    assert formatting.counted(Count(10_000, more=True)) == "10,000+"
    assert formatting.exact_span(timedelta(hours=36)) == "36 hours"
    assert formatting.exact_span(timedelta(0)) == "0 seconds"
    assert formatting.listed(["a"]) == "a"
    assert formatting.listed(["a", "b", "c"], "or") == "a, b or c"


def test_a_policy_says_all_that_it_demands():
    policy = a_policy_of(
        a_rule(at_most=0.9, no_worse_than=Margins(incumbent=0.02, base=0.05)),
        approvals=Approvals(required=0),
        evidence=EvidenceDemand(timedelta(days=30), "required", (Contributor.AUTHOR,)),
        card=CardDemand(("licence",), ("knowledge",)),
        artifact=ArtifactDemand(max_parameter_fraction=0.001, max_virtual_tokens=1),
        canary=Canary(1000, CanaryApprovals(1)),
    )
    said = {each.about: each.text for each in sentences(policy)}
    assert "is no worse than what is live by more than 0.02" in said["brand-voice/tone"]
    assert said["Evidence"] == (
        "No older than 30 days. With one row for each sample; aggregates alone do not count. "
        "Not recorded by the author."
    )
    assert said["Card"] == "States licence. Does not declare the use knowledge."
    assert "At most 1 virtual token." in said["Artifact"]
    assert said["Approvals"] == "None needed: the gate alone decides."
    assert said["Canary"].startswith("Up to 10\N{NO-BREAK SPACE}% of the traffic, 1 approval")
    waiting = a_policy_of(a_rule(), approvals=Approvals(exclude=(), wait=timedelta(hours=24)))
    (approvals,) = [each.text for each in sentences(waiting) if each.about == "Approvals"]
    assert "Not before 1 day have passed since the request." in approvals
