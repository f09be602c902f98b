"""Suites: the values that a metric admits, and the contradictions in a suite."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.evidence.suites import Metric, MetricKind, setting_faults, suite_faults
from tests.support.evidence import BLEU, LATENCY, TONE, TOXICITY, a_suite


@pytest.mark.parametrize(
    ("metric", "value", "admitted"),
    [
        pytest.param(TONE, 0.0, True, id="proportion-none"),
        pytest.param(TONE, 1.0, True, id="proportion-all"),
        pytest.param(TONE, 1.0001, False, id="proportion-above-one"),
        pytest.param(TONE, -0.0001, False, id="proportion-below-zero"),
        pytest.param(TONE, 93.0, False, id="proportion-in-percent"),
        pytest.param(BLEU, 0, True, id="mean-at-its-minimum"),
        pytest.param(BLEU, 100, True, id="mean-at-its-maximum"),
        pytest.param(BLEU, 100.5, False, id="mean-above-its-maximum"),
        pytest.param(LATENCY, -1e300, True, id="mean-without-a-range"),
        pytest.param(LATENCY, math.inf, False, id="infinite"),
        pytest.param(LATENCY, math.nan, False, id="nan-without-a-range"),
        pytest.param(TONE, math.nan, False, id="nan"),
    ],
)
def test_a_metric_admits_finite_values_in_its_range(metric, value, admitted):
    assert metric.admits(value) is admitted


@pytest.mark.parametrize(
    ("minimum", "maximum", "expected"),
    [
        pytest.param(None, None, (-math.inf, math.inf), id="open"),
        pytest.param(0, None, (0, math.inf), id="from-below"),
        pytest.param(None, 0, (-math.inf, 0), id="from-above"),
        pytest.param(-1, 1, (-1, 1), id="closed"),
    ],
)
def test_a_bound_that_is_not_given_is_infinite(minimum, maximum, expected):
    assert replace(LATENCY, minimum=minimum, maximum=maximum).range == expected


@given(st.floats(), st.floats())
def test_the_range_of_a_proportion_is_always_zero_to_one(minimum, maximum):
    assert replace(TONE, minimum=minimum, maximum=maximum).range == (0, 1)


def test_a_suite_is_named_with_its_version():
    assert str(a_suite()) == "brand-voice@3"


def test_a_metric_is_found_by_its_exact_name():
    assert a_suite().metric("tone") is TONE
    assert a_suite().metric("Tone") is None


def test_a_suite_without_contradictions_has_no_faults():
    assert suite_faults(a_suite()) == ()


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        pytest.param({"personas": ("a", "b", "a")}, ["persona-repeated"], id="persona-twice"),
        pytest.param({"locales": ("en", "en")}, ["locale-repeated"], id="locale-twice"),
        pytest.param({"metrics": (TONE, TONE)}, ["metric-repeated"], id="metric-twice"),
        pytest.param(
            {"metrics": (TONE, replace(TONE, higher_is_better=False))},
            ["metric-repeated"],
            id="metric-in-both-directions",
        ),
        pytest.param(
            {"personas": ("a", "a"), "locales": ("en", "en"), "metrics": (TONE, TONE)},
            ["persona-repeated", "locale-repeated", "metric-repeated"],
            id="everything-at-once",
        ),
    ],
)
def test_a_name_that_is_listed_twice_is_a_fault(changes, codes):
    assert [fault.code for fault in suite_faults(a_suite(**changes))] == codes


@pytest.mark.parametrize(
    ("kind", "minimum", "maximum", "codes"),
    [
        pytest.param("mean", None, None, [], id="open"),
        pytest.param("mean", 0, 100, [], id="closed"),
        pytest.param("mean", 0, None, [], id="half-open"),
        pytest.param("mean", 5, 5, ["range-empty"], id="one-point"),
        pytest.param("mean", 1, 0, ["range-empty"], id="backwards"),
        pytest.param("mean", math.nan, None, ["range-not-finite"], id="nan"),
        pytest.param("mean", 0, math.inf, ["range-not-finite"], id="infinite"),
        pytest.param("proportion", None, None, [], id="proportion"),
        pytest.param("proportion", 0, 1, [], id="proportion-with-its-range"),
        pytest.param("proportion", 0, 100, ["range-of-proportion"], id="percentage"),
        pytest.param("proportion", 0, None, ["range-of-proportion"], id="half-a-range"),
        pytest.param("proportion", math.nan, 1, ["range-not-finite"], id="proportion-nan"),
    ],
)
def test_the_range_of_a_metric_is_finite_and_not_empty(kind, minimum, maximum, codes):
    metric = Metric("m", MetricKind(kind), True, minimum, maximum)  # noqa: FBT003 - a field

    assert [fault.code for fault in suite_faults(a_suite(metrics=(metric,)))] == codes


def test_a_fault_states_how_often_a_name_is_listed():
    (fault,) = suite_faults(a_suite(personas=("a", "b", "a", "a")))

    assert fault.message == "The persona a is listed 3 times; list it once."


@pytest.mark.parametrize(
    ("kind", "names"),
    [("persona", ("novice", "Novice")), ("locale", ("en-GB", "de", "en-gb"))],
)
def test_names_in_a_suite_may_not_differ_by_case_only(kind, names):
    suite = replace(a_suite(), **{f"{kind}s": names})
    (fault,) = suite_faults(suite)
    assert fault.code == f"{kind}-repeated"
    assert fault.message == (
        f"The {kind} {names[-1]} differs from {names[0]} by case only; list one of them."
    )


@pytest.mark.parametrize(
    ("metric", "bound"),
    [
        pytest.param(LATENCY, "maximum", id="lower-is-better"),
        pytest.param(replace(LATENCY, higher_is_better=True), "minimum", id="higher-is-better"),
    ],
)
def test_a_missing_sample_of_a_sealed_suite_needs_a_worst_value(metric, bound):
    suite = a_suite(metrics=(TONE, metric))
    assert suite_faults(suite) == ()
    (fault,) = suite_faults(replace(suite, sealed=True))
    assert (fault.code, fault.message.partition(",")[0]) == (
        "no-worst-value",
        f"latency has no {bound}",
    )
    whole = replace(metric, **{bound: 9.0})
    assert suite_faults(replace(suite, metrics=(whole,), sealed=True)) == ()


def test_a_sealed_suite_has_at_most_10000_cells():
    names = tuple(f"n{number}" for number in range(100))
    assert suite_faults(a_suite(personas=names, locales=names, metrics=(TONE,), sealed=True)) == ()
    suite = a_suite(personas=names, locales=names, metrics=(TONE, TOXICITY))
    assert suite_faults(suite) == ()
    assert [f.code for f in suite_faults(replace(suite, sealed=True))] == ["too-many-cells"]


@pytest.mark.parametrize(
    ("stated", "equal"),
    [
        ({"judge": {"seed": 1, "name": "j"}, "temperature": 0.0, "more": 1, "limit": None}, True),
        ({"judge": {"seed": 1, "name": "j"}, "temperature": 0}, True),
        ({"judge": {"seed": 1, "name": "j"}, "temperature": False}, False),
        ({"judge": {"seed": 1, "name": "j"}, "temperature": "0"}, False),
        ({"judge": {"seed": 2, "name": "j"}, "temperature": 0}, False),
        ({"temperature": 0}, False),
        ({"judge": {"seed": 1, "name": "j"}, "temperature": 0, "limit": 5}, False),
    ],
)
def test_a_run_must_state_the_settings_that_the_suite_pins(stated, equal):
    pinned = {"judge": {"name": "j", "seed": 1}, "temperature": 0, "limit": None}
    found = list(setting_faults(a_suite(settings=pinned), stated))
    assert [fault.code for fault in found] == ([] if equal else ["setting-differs"])


def test_a_fault_of_a_setting_quotes_both_values():
    (fault,) = setting_faults(a_suite(settings={"judge": "a\n"}), {"judge": {"b": 1}})
    assert fault.message == (r'brand-voice@3 pins "judge" to "a\n"; the run says "{\"b\":1}".')
