"""Samples: the rows that are refused, and the cells recomputed from the others."""

import json
import math
import statistics

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.evidence.evaluation import CellResult, result_faults
from app.domain.evidence.rows import LINE_LIMIT_BYTES
from app.domain.evidence.samples import disagreements, read_samples
from tests.support.evidence import LOCALES, ONE_CELL, PERSONAS, TONE, a_cell, a_key, a_suite


def a_row(name="a", **changes):
    """Return the row of one sample of novice/en that scores 1 in tone."""
    row = {"id": name, "persona": "novice", "locale": "en", "scores": {"tone": 1}}
    return json.dumps(row | changes).encode()


def scored(metric, literal):
    """Return a row with one score in this literal notation, which need not be JSON."""
    text = '{"id": "a", "persona": "novice", "locale": "en", "scores": {"%s": %s}}'
    return (text % (metric, literal)).encode()


def rows_of(values, metric="tone"):
    return [a_row(f"s{n}", scores={metric: value}) for n, value in enumerate(values)]


def read(*lines, suite=None):
    """Return the samples of lines that have no fault."""
    samples, faults = read_samples(lines, suite or a_suite())
    assert faults == ()
    return samples


def faults(*lines, suite=None):
    samples, found = read_samples(lines, suite or a_suite())
    assert samples is None
    return found


def codes(*lines):
    return [fault.code for fault in faults(*lines)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"{", ["not-json"], id="no-json"),
        pytest.param(b"\xff{}", ["not-json"], id="no-utf-8"),
        pytest.param(b"\xef\xbb\xbf{}", ["not-json"], id="a-byte-order-mark"),
        pytest.param(a_row() + a_row(), ["not-json"], id="two-objects"),
        pytest.param(b"[]", ["not-json"], id="a-list"),
        pytest.param(b"null", ["not-json"], id="null"),
        pytest.param(b"[" * 20_000, ["not-json"], id="deep-and-open"),
        pytest.param(scored("tone", "[" * 20_000 + "]" * 20_000), ["not-json"], id="deep"),
        pytest.param(scored("tone", "1" * 5_000), ["not-json"], id="a-number-of-5000-digits"),
        pytest.param(a_row("a" * LINE_LIMIT_BYTES), ["too-long"], id="too-long"),
        pytest.param(a_row(pronoun="x"), ["unknown-field"], id="field"),
        pytest.param(a_row(None), ["sample-id"], id="no-id"),
        pytest.param(a_row(7), ["sample-id"], id="a-number-as-id"),
        pytest.param(a_row(["a"]), ["sample-id"], id="a-list-as-id"),
        pytest.param(a_row(""), ["sample-id"], id="an-empty-id"),
        pytest.param(a_row(prompt_sha256=7), ["prompt"], id="prompt"),
        pytest.param(a_row(persona="pirate"), ["unknown-persona"], id="persona"),
        pytest.param(a_row(persona=["novice"]), ["unknown-persona"], id="a-list-as-persona"),
        pytest.param(a_row(locale="fr"), ["unknown-locale"], id="locale"),
        pytest.param(a_row(locale=None), ["unknown-locale"], id="no-locale"),
        pytest.param(a_row(scores=None), ["scores"], id="no-scores"),
        pytest.param(a_row(scores=[1]), ["scores"], id="a-list-of-scores"),
        pytest.param(a_row(scores={"wit": 1}), ["unknown-metric"], id="metric"),
        pytest.param(a_row(scores={"wit": None}), ["unknown-metric"], id="no-score-of-a-metric"),
        pytest.param(b"{}", ["sample-id", "unknown-persona", "unknown-locale", "scores"], id="{}"),
        pytest.param(
            a_row("", pronoun="x", prompt_sha256=7, scores={"wit": 1, "tone": 2}),
            ["unknown-field", "sample-id", "prompt", "unknown-metric", "value-out-of-range"],
            id="everything-at-once",
        ),
    ],
)
def test_a_row_that_is_not_a_sample_of_the_suite_is_refused(line, expected):
    assert codes(line) == expected


@pytest.mark.parametrize(
    ("metric", "literal", "score"),
    [
        ("tone", "0", 0.0),
        ("tone", "1", 1.0),
        ("tone", "0.0", 0.0),
        ("tone", "1e0", 1.0),
        ("tone", "true", 1.0),
        ("tone", "false", 0.0),
        ("bleu", "0", 0.0),
        ("bleu", "31.25", 31.25),
        ("bleu", "100", 100.0),
        ("latency", "-3", -3.0),
        ("latency", "1e100", 1e100),
        ("latency", str(10**99), 1e99),
    ],
)
def test_a_score_that_the_metric_admits_is_accepted(metric, literal, score):
    (column,) = read(scored(metric, literal)).scores.values()

    assert list(column.values) == [score]


@pytest.mark.parametrize("metric", ["tone", "bleu", "latency"])
@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400", '"1"', "[]", "{}"])
def test_a_value_that_is_not_a_finite_number_is_not_a_score(metric, literal):
    assert codes(scored(metric, literal)) == ["value-out-of-range"]


@pytest.mark.parametrize(
    ("metric", "literal", "allowed"),
    [
        ("tone", "0.5", "0 or 1"),
        ("tone", "2", "0 or 1"),
        ("tone", "-1", "0 or 1"),
        ("tone", "1" * 400, "0 or 1"),
        ("bleu", "100.1", "a number in [0, 100]"),
        ("bleu", "-0.1", "a number in [0, 100]"),
        ("bleu", "true", "a number in [0, 100]"),
        ("bleu", "1" * 400, "a number in [0, 100]"),
        ("latency", "1" * 400, "a number in [-1e+100, 1e+100]"),
        ("latency", "-1.1e100", "a number in [-1e+100, 1e+100]"),
    ],
)
def test_the_fault_of_a_score_out_of_range_names_the_range(metric, literal, allowed):
    (fault,) = faults(scored(metric, literal))

    assert fault.code == "value-out-of-range"
    assert fault.message.startswith(f"Line 1: {metric} is {literal[:1].replace('t', 'T')}")
    assert fault.message.endswith(f"; it must be {allowed}.")


def test_every_fault_names_its_line():
    found = faults(a_row(), b"", a_row("b", locale="fr"), b"{", a_row())

    assert [fault.message for fault in found] == [
        "Line 3: locale is 'fr'; brand-voice@3 has en, de.",
        "Line 4: It is not JSON in UTF-8.",
        "Line 5: The sample 'a' occurs twice.",
    ]


def test_the_quotations_in_a_fault_are_short_and_printable():
    """A lone surrogate is legal in JSON and cannot be encoded, so a response must not hold it."""
    odd = "\ud800\n" + "x" * 1_000
    row = a_row(odd, persona=odd, **{odd: 1}, scores={odd: 1})

    found = faults(a_row(odd), row)

    assert len(found) == 4
    for fault in found:
        assert fault.message.isprintable()
        assert len(fault.message) < 200


def test_reading_stops_after_twenty_faults():
    lines = iter([b"{"] * 1_000)

    *first, last = faults(*[b"{"] * 19, a_row(), b"{")
    assert (len(first), last.message) == (20, "Reading stopped at line 21.")
    assert [fault.code for fault in first] == ["not-json"] * 20
    read_samples(lines, a_suite())
    assert len(list(lines)) == 980


def test_one_line_of_many_faults_is_cut_short_too():
    line = a_row(scores={f"m{n}": 1 for n in range(1_000)})

    assert codes(line) == ["unknown-metric"] * 20 + ["more"]


def test_nineteen_faults_are_all_reported():
    assert codes(*[b"{"] * 19) == ["not-json"] * 19


def test_a_sample_may_be_reported_only_once():
    assert codes(a_row(), a_row(persona="expert", prompt_sha256="p")) == ["duplicate-sample"]


def test_a_lone_surrogate_may_name_a_sample():
    assert list(read(a_row("\ud800"), a_row("\ud801")).scores[a_key()].values) == [1, 1]


@pytest.mark.parametrize("lines", [[], [b"", b" \r\n"]], ids=["nothing", "blank"])
def test_a_file_without_a_sample_is_refused(lines):
    (fault,) = faults(*lines)

    assert (fault.code, fault.message) == ("no-samples", "There is no sample with a score.")


@pytest.mark.parametrize("none", [{}, {"tone": None}], ids=["none", "null"])
def test_a_file_without_a_score_is_refused(none):
    assert codes(a_row(scores=none)) == ["no-samples"]


def test_blank_lines_are_not_rows():
    samples = read(b"\n", a_row() + b"\r\n", b"", a_row("b"))

    assert samples.results() == [CellResult(a_key(), a_cell(1.0, 2, 0.0))]


def keys_of(*lines):
    return [list(read(line).scores[a_key()].keys) for line in lines]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param(a_row(), a_row(scores={"tone": 0}), True, id="another-score"),
        pytest.param(a_row(), a_row("b"), False, id="another-id"),
        pytest.param(a_row(prompt_sha256="p"), a_row(prompt_sha256="p"), True, id="equal-prompts"),
        pytest.param(a_row(prompt_sha256="p"), a_row(prompt_sha256="q"), False, id="prompts"),
        pytest.param(a_row(), a_row(prompt_sha256="p"), False, id="one-prompt-is-missing"),
        pytest.param(a_row(), a_row(prompt_sha256=None), True, id="null-is-no-prompt"),
        pytest.param(
            a_row("a\0b"), a_row("a", prompt_sha256="b\0"), False, id="equal-concatenations"
        ),
        pytest.param(
            a_row("a", prompt_sha256="bc"), a_row("ab", prompt_sha256="c"), False, id="shifted"
        ),
    ],
)
def test_two_samples_pair_where_both_id_and_prompt_are_equal(one, other, same):
    first, second = keys_of(one, other)

    assert (first == second) is same


@pytest.mark.parametrize("unscored", [{"bleu": 3}, {"bleu": 3, "tone": None}], ids=["none", "null"])
def test_a_cell_that_misses_some_of_the_samples_is_uneven(unscored):
    samples = read(
        a_row("a", scores={"tone": 1, "bleu": 2}),
        a_row("b", scores=unscored),
        a_row("c", persona="expert"),
    )

    assert samples.uneven == (a_key(),)
    assert [result.cell.samples for result in samples.results()] == [2, 1, 1]


def test_cells_of_which_every_sample_is_scored_are_even():
    samples = read(a_row("a"), a_row("b"), a_row("c", persona="expert", scores={"bleu": 2}))

    assert samples.uneven == ()


NUMBERS = st.floats(0, 100) | st.integers(0, 100)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "persona": st.sampled_from(PERSONAS),
            "locale": st.sampled_from(LOCALES),
            "scores": st.fixed_dictionaries(
                {"bleu": NUMBERS},
                optional={"tone": st.booleans() | st.none(), "latency": st.floats(-1e100, 1e100)},
            ),
        }
    ),
    min_size=1,
    max_size=30,
).map(lambda rows: [a_row(f"s{n}", **row) for n, row in enumerate(rows)])


@given(lines=ROWS, random=st.randoms())
def test_the_order_of_rows_changes_no_cell(lines, random):
    """Sums are rounded only once, so not a single bit depends on the order."""
    ordered, shuffled = read(*lines), read(*random.sample(lines, len(lines)))

    assert shuffled.results() == ordered.results()
    assert shuffled.uneven == ordered.uneven


@given(values=st.lists(NUMBERS, min_size=1, max_size=60))
def test_recomputed_cells_agree_with_the_statistics_module(values):
    (result,) = read(*rows_of(values, "bleu")).results()

    exact = [float(value) for value in values]
    assert (result.key, result.cell.samples) == (a_key("bleu"), len(values))
    assert result.cell.mean == pytest.approx(statistics.mean(exact), rel=1e-12, abs=1e-300)
    if len(values) == 1:
        assert result.cell.stderr is None
    else:
        stderr = statistics.stdev(exact) / math.sqrt(len(values))
        assert result.cell.stderr == pytest.approx(stderr, rel=1e-12, abs=1e-12)


@given(lines=ROWS)
def test_a_recomputed_cell_never_contradicts_its_suite(lines):
    assert result_faults(a_suite(), read(*lines).results()) == ()


@given(score=st.floats(-1e100, 1e100), n=st.integers(2, 200))
def test_equal_scores_have_their_own_mean_and_no_spread(score, n):
    """30 times 0.1, divided by 30, is more than 0.1 in binary."""
    (result,) = read(*rows_of([score] * n, "latency")).results()

    assert result.cell == a_cell(score, n, 0.0)


def test_the_greatest_scores_do_not_overflow():
    (result,) = read(*rows_of([1e100, -1e100] * 50, "latency")).results()

    assert result.cell.mean == 0.0
    assert math.isfinite(result.cell.stderr)


SAMPLES = rows_of([1, 0, 1, 1])


@pytest.mark.parametrize(
    ("reported", "agrees"),
    [
        pytest.param(a_cell(0.75, 4), True, id="equal"),
        pytest.param(a_cell(0.7505, 4), True, id="rounded-up"),
        pytest.param(a_cell(0.7495, 4), True, id="rounded-down"),
        pytest.param(a_cell(0.7506, 4), False, id="too-high"),
        pytest.param(a_cell(0.7494, 4), False, id="too-low"),
        pytest.param(a_cell(0.75, 400), False, id="another-number-of-samples"),
        pytest.param(a_cell(math.nan, 4), False, id="nan"),
        pytest.param(a_cell(math.inf, 4), False, id="infinite"),
    ],
)
def test_a_reported_aggregate_must_agree_with_the_samples(reported, agrees):
    found = list(disagreements(read(*SAMPLES), [CellResult(a_key(), reported)]))

    assert [fault.code for fault in found] == ([] if agrees else ["disagrees"])


@pytest.mark.parametrize(
    ("reported", "agrees"),
    [(2_000.0, True), (2_001.0, True), (2_001.1, False), (1_998.9, False)],
)
def test_above_one_an_aggregate_is_rounded_relatively(reported, agrees):
    samples = read(*rows_of([1_000, 3_000], "latency"))
    result = CellResult(a_key("latency"), a_cell(reported, 2))

    assert (not list(disagreements(samples, [result]))) is agrees


@example(n=16, share=1 / 16, up=True)
@example(n=16, share=1 / 16, up=False)
@given(n=st.integers(1, 160), share=st.floats(0, 1), up=st.booleans())
def test_a_proportion_rounded_to_three_decimals_agrees_with_its_samples(n, share, up):
    """A tie is rounded either way: 1 of 16 is printed as 0.062 or as 0.063."""
    successes = round(share * n)
    samples = read(*rows_of([1] * successes + [0] * (n - successes)))
    thousandths = 1_000 * successes / n
    nearest = round(thousandths + (1e-9 if up else -1e-9))

    reported = CellResult(a_key(), a_cell(nearest / 1_000, n))

    assert list(disagreements(samples, [reported])) == []


def test_a_disagreement_states_the_result_of_the_samples():
    reported = [
        CellResult(a_key(), a_cell(0.5, 4)),
        CellResult(a_key(persona="expert"), a_cell(0.5, 4)),
    ]

    assert [fault.message for fault in disagreements(read(*SAMPLES), reported)] == [
        "tone for novice/en is reported as 0.5 of 4, and the samples give 0.75 of 4.",
        "tone for expert/en is reported, but no sample has it.",
    ]


def test_cells_need_not_be_reported():
    assert list(disagreements(read(*SAMPLES), [])) == []


def test_a_suite_of_one_cell_takes_its_own_samples_only():
    suite = a_suite(**ONE_CELL, metrics=(TONE,))

    assert list(read(a_row(), suite=suite).scores) == [a_key()]
    assert [fault.code for fault in faults(a_row(persona="expert"), suite=suite)] == [
        "unknown-persona"
    ]


def test_a_repeated_key_is_refused_because_parsers_differ_in_the_value_they_take():
    line = b'{"id": "a", "persona": "novice", "locale": "en", "scores": {"tone": 0, "tone": 1}}'
    (fault,) = faults(line)
    assert (fault.code, '"tone"' in fault.message) == ("duplicate-key", True)


def test_sparse_rows_need_not_have_every_metric_and_are_named_by_sample():
    lines = [a_row("a"), a_row("b", scores={"bleu": 3}), a_row("c", scores={"bleu": 101})]
    samples, found = read_samples(lines[:2], a_suite(), sparse=True)
    assert (samples.uneven, found) == ((), ())
    _, (fault,) = read_samples(lines, a_suite(), sparse=True)
    assert fault.message.startswith("Sample 'c': bleu is 101")


def test_of_several_unknown_fields_the_first_by_name_is_reported():
    (fault,) = faults(a_row(**dict.fromkeys("qwertyuiop", 1)))
    assert fault.message == "Line 1: The field 'e' is unknown."
