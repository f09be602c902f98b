"""Policies: impossible, meaningless and unreachable rules, and the defaults of a rule."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.governance.policies import (
    Approvals,
    EvidenceDemand,
    Margins,
    Rule,
    compared_metrics,
    completed,
    fewest_samples,
    first_look_confidence,
    level_faults,
    policy_faults,
    rule_faults,
)
from app.domain.statistics import betting
from app.domain.statistics.proportions import lower_bound, upper_bound
from tests.support.evidence import (
    BLEU,
    LOCALES,
    PERSONAS,
    TONE,
    TOXICITY,
    a_policy_of,
    a_rule,
    a_suite,
)


def faults(rule):
    return list(rule_faults(rule, a_suite()))


def codes(rule):
    return [fault.code for fault in faults(rule)]


def a_limit(metric="tone", **changes):
    """Return a rule with only the given demands and no other details."""
    return Rule(f"brand-voice/{metric}", **changes)


def test_a_policy_without_rules_is_illegal():
    with pytest.raises(ValueError, match="at least one rule"):
        a_policy_of()


def test_a_rule_names_suite_and_metric():
    assert (a_rule().suite_name, a_rule().metric_name) == ("brand-voice", "tone")


def test_at_least_95_percent_cannot_be_shown_with_62_samples():
    (fault,) = faults(a_limit(at_least=0.95, min_samples=62))

    assert fault.code == "unreachable"
    assert fault.message == (
        "With 62 samples a cell of brand-voice/tone could never pass at confidence 0.95, however "
        "good it is; set min_samples to 63 or more."
    )


def test_at_least_95_percent_can_be_shown_with_63_samples():
    assert faults(a_limit(at_least=0.95, min_samples=63)) == []


@given(
    limit=st.floats(0.01, 0.995),
    confidence=st.sampled_from([0.8, 0.9, 0.95, 0.99]),
    samples=st.integers(1, 1_000),
)
def test_a_rule_is_unreachable_exactly_if_a_perfect_cell_would_fail(limit, confidence, samples):
    higher = a_limit(at_least=limit, confidence=confidence, min_samples=samples)
    lower = a_limit("toxicity", at_most=1 - limit, confidence=confidence, min_samples=samples)

    first = first_look_confidence(confidence)
    reached = lower_bound(samples, samples, first) >= limit
    assert codes(higher) == ([] if reached else ["unreachable"])
    reached = upper_bound(0, samples, first) <= 1 - limit
    assert codes(lower) == ([] if reached else ["unreachable"])


@pytest.mark.parametrize(
    ("rule", "needed"),
    [
        pytest.param(a_limit(at_least=0.95), 63, id="at-least"),
        pytest.param(a_limit(at_least=0.95, confidence=0.99), 95, id="more-confidence"),
        pytest.param(a_limit(at_most=0.01), 321, id="at-most"),
        pytest.param(a_limit(at_least=0.5, at_most=0.99), 5, id="both"),
        pytest.param(a_limit(no_worse_than=Margins(incumbent=0.02)), 1, id="margins-alone"),
    ],
)
def test_the_fewest_samples_are_those_with_which_a_perfect_cell_passes(rule, needed):
    assert fewest_samples(rule, TONE) == needed


def test_a_mean_takes_as_many_samples_as_show_its_limit_when_all_are_perfect():
    needed = betting.smallest_n_that_can_pass(30, 0, 100, 0.96, "at_least")
    assert codes(a_limit("bleu", at_least=30, min_samples=needed - 1)) == ["unreachable"]
    assert codes(a_limit("bleu", at_least=30, min_samples=needed)) == []


def test_reports_without_samples_cannot_show_a_mean():
    reported = a_policy_of(a_rule("bleu", at_least=30), evidence=EvidenceDemand(level=0))
    (rule,) = reported.rules
    assert [each.code for each in level_faults(reported, rule, BLEU)] == ["mean-without-samples"]
    assert list(level_faults(reported, rule, TONE)) == []
    assert list(level_faults(a_policy_of(rule), rule, BLEU)) == []


def test_level_0_contradicts_required_samples():
    policy = a_policy_of(a_rule(), evidence=EvidenceDemand(samples="required", level=0))
    assert [fault.code for fault in policy_faults(policy)] == ["level-contradicts-samples"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        pytest.param(a_rule(), [], id="good"),
        pytest.param(a_rule("toxicity", at_least=None, at_most=0.05), [], id="lower-is-better"),
        pytest.param(a_limit("latency", at_most=-3.5), ["mean-without-range"], id="no-range"),
        pytest.param(a_limit("wit", at_least=0.5), ["unknown-metric"], id="metric"),
        pytest.param(a_rule(personas=("novice", "pirate")), ["unknown-persona"], id="persona"),
        pytest.param(a_rule(locales=("fr", "it")), ["unknown-locale"] * 2, id="locales"),
        pytest.param(a_limit(), ["rule-empty"], id="no-demand"),
        pytest.param(a_limit(no_worse_than=Margins()), ["rule-empty"], id="no-margin-either"),
        pytest.param(a_limit(at_most=0.9), ["limit-against-direction"], id="at-most-on-tone"),
        pytest.param(
            a_limit("toxicity", at_least=0.1),
            ["limit-against-direction"],
            id="at-least-on-toxicity",
        ),
        pytest.param(
            a_limit(at_least=0.5, at_most=0.9), ["limit-against-direction"], id="both-directions"
        ),
        pytest.param(a_limit(at_least=1.0), ["limit-out-of-range"], id="perfection"),
        pytest.param(a_limit(at_least=0.0), ["limit-out-of-range"], id="no-demand-at-all"),
        pytest.param(a_limit(at_least=85.0), ["limit-out-of-range"], id="percent"),
        pytest.param(a_limit(at_least=math.nan), ["limit-out-of-range"], id="nan"),
        pytest.param(a_limit("toxicity", at_most=0.0), ["limit-out-of-range"], id="never"),
        pytest.param(
            a_limit("toxicity", at_most=math.nan), ["limit-out-of-range"], id="nan-at-most"
        ),
        pytest.param(a_limit("toxicity", at_most=1e-15), ["limit-out-of-range"], id="almost-never"),
        pytest.param(a_limit(at_least=1 - 1e-15), ["limit-out-of-range"], id="almost-always"),
        pytest.param(
            a_limit("latency", at_most=math.inf),
            ["mean-without-range", "limit-out-of-range"],
            id="infinite",
        ),
        pytest.param(a_limit("bleu", at_least=100), ["limit-out-of-range"], id="the-maximum"),
        pytest.param(
            a_limit(personas=("pirate",), at_most=1.5),
            ["unknown-persona", "limit-out-of-range", "limit-against-direction"],
            id="everything-at-once",
        ),
    ],
)
def test_every_fault_of_a_rule_is_reported(rule, expected):
    assert codes(rule) == expected


@pytest.mark.parametrize(
    ("margins", "expected"),
    [
        pytest.param(Margins(incumbent=0.02), [], id="incumbent"),
        pytest.param(Margins(base=0.0), [], id="zero"),
        pytest.param(Margins(0.02, -0.01), ["margin-out-of-range"], id="negative"),
        pytest.param(Margins(math.nan, math.inf), ["margin-out-of-range"] * 2, id="not-finite"),
    ],
)
def test_a_margin_is_a_finite_number_from_zero_up(margins, expected):
    assert codes(a_limit(no_worse_than=margins)) == expected


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        pytest.param(
            a_limit(at_most=0.9),
            "On brand-voice/tone higher is better, so its limit is at_least.",
            id="higher",
        ),
        pytest.param(
            a_limit("toxicity", at_least=0.1),
            "On brand-voice/toxicity lower is better, so its limit is at_most.",
            id="lower",
        ),
        pytest.param(
            a_rule(personas=("pirate",)),
            "brand-voice@3 has no persona pirate; it has novice, expert.",
            id="persona",
        ),
        pytest.param(
            a_limit("wit"),
            "brand-voice@3 has no metric wit; it has brand-voice/tone, brand-voice/toxicity, "
            "brand-voice/bleu, brand-voice/latency.",
            id="metric",
        ),
    ],
)
def test_a_fault_names_a_remedy(rule, message):
    assert [fault.message for fault in faults(rule)] == [message]


def test_a_rule_without_details_means_every_cell_and_the_fewest_samples():
    assert completed(a_limit(at_least=0.95), a_suite()) == a_rule(at_least=0.95, min_samples=63)


def test_completing_a_rule_keeps_its_own_values():
    rule = a_rule(personas=("expert",), locales=("de",), min_samples=1_000)

    assert completed(rule, a_suite()) == rule


@given(
    rule=st.builds(
        a_limit,
        at_least=st.floats(0.01, 0.99),
        personas=st.lists(st.sampled_from(PERSONAS), unique=True).map(tuple),
        locales=st.lists(st.sampled_from(LOCALES), unique=True).map(tuple),
        min_samples=st.none() | st.integers(500, 1_000),
    )
)
def test_completing_a_faultless_rule_leaves_no_gap_and_no_fault(rule):
    complete = completed(rule, a_suite())

    assert complete.personas
    assert complete.locales
    assert complete.min_samples is not None
    assert faults(complete) == []
    assert completed(complete, a_suite()) == complete


def test_a_rule_on_an_unknown_metric_cannot_be_completed():
    with pytest.raises(ValueError, match="has no metric wit"):
        completed(a_limit("wit", at_least=0.5), a_suite())


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param([a_rule()], [], id="one"),
        pytest.param([a_rule(), a_rule("toxicity")], [], id="two-metrics"),
        pytest.param([a_rule(), a_rule(personas=("expert",))], [], id="a-stricter-persona"),
        pytest.param([a_rule(), a_rule(at_least=0.5)], ["rule-repeated"], id="the-same-cells"),
        pytest.param([a_rule()] * 3, ["rule-repeated"], id="three-times-is-one-fault"),
    ],
)
def test_two_rules_on_the_same_cells_are_a_fault(rules, expected):
    assert [fault.code for fault in policy_faults(a_policy_of(*rules))] == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param([a_rule()], set(), id="limits-alone"),
        pytest.param([a_rule(no_worse_than=Margins())], set(), id="no-margin"),
        pytest.param([a_rule(no_worse_than=Margins(incumbent=0.0))], {"tone"}, id="incumbent"),
        pytest.param([a_rule(no_worse_than=Margins(base=0.1))], {"tone"}, id="base"),
        pytest.param(
            [
                a_rule(),
                a_rule("bleu", no_worse_than=Margins(1.0)),
                a_rule("latency", no_worse_than=Margins(1.0, 2.0)),
            ],
            {"bleu", "latency"},
            id="of-several-rules",
        ),
    ],
)
def test_the_metrics_that_a_policy_compares_are_those_with_a_margin(rules, expected):
    assert compared_metrics(a_policy_of(*rules)) == expected


def test_a_request_must_outlast_the_wait():
    policy = a_policy_of(a_rule(), approvals=Approvals(wait=timedelta(days=30)))

    assert [fault.code for fault in policy_faults(policy)] == ["wait-too-long"]


@given(st.floats(0.0001, 0.9999), st.floats(0.0001, 0.9999))
def test_a_stricter_limit_never_takes_fewer_samples(one, other):
    low, high = sorted((one, other))
    rule = a_limit(at_least=low)

    assert fewest_samples(rule, TONE) <= fewest_samples(replace(rule, at_least=high), TONE)
    mirrored = a_limit("toxicity", at_most=1 - low)
    stricter = replace(mirrored, at_most=1 - high)
    assert fewest_samples(mirrored, TOXICITY) <= fewest_samples(stricter, TOXICITY)


def test_the_defaults_of_approvals_are_strict_and_without_a_wait():
    found = Approvals()
    assert (found.required, found.human) == (1, True)
    assert [each.value for each in found.exclude] == ["author", "owner", "requester", "evaluator"]
    assert (found.valid_for, found.wait) == (timedelta(days=7), timedelta(0))
