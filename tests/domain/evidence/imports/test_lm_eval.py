"""lm-evaluation-harness: the parts of its files that are used, and refused contradictions."""

import copy
import json
import math

import pytest

from app.domain.evidence.imports.lm_eval import TaskMap, read_results, task_of_file
from app.domain.evidence.imports.lm_eval_samples import LINE_LIMIT_BYTES, SamplesReader
from app.domain.evidence.rows import FAULT_LIMIT
from app.domain.strict_json import read_tool_object
from tests.support.evidence import LATENCY, TONE, a_suite
from tests.support.imported import the_results, the_samples

SUITE = a_suite(metrics=(TONE, LATENCY))
MAP = TaskMap("voice_novice", "novice", "en", {"acc,none": "tone"})
RESULTS = read_tool_object(the_results("full").read_bytes())
LINES = the_samples("full", "voice_novice").read_bytes().splitlines()
GONE = object()


def changed(value, *path):
    """Return the results with one value replaced or, with GONE, left out."""
    document = copy.deepcopy(RESULTS)
    *above, last = path
    below = document
    for name in above:
        below = below[name]
    below[last] = value
    if value is GONE:
        del below[last]
    return document


def read(document=RESULTS, mapped=MAP):
    return read_results(document, [mapped], SUITE)


def codes(document=RESULTS, mapped=MAP):
    return [fault.code for fault in read(document, mapped)[2]]


def converted(lines=LINES, document=RESULTS, mapped=MAP):
    """Return the converted rows, the codes of the faults, and why the run is partial."""
    _, (task,), faults = read(document, mapped)
    assert faults == []
    reader = SamplesReader(task)
    rows = [json.loads(row) for line in lines if (row := reader.take(line)) is not None]
    reasons = reader.finish()
    return rows, [fault.code for fault in reader.faults], reasons


def rewritten(changes, lines=LINES, number=0):
    """Return the lines with members of one row replaced."""
    row = read_tool_object(lines[number]) | changes
    return [*lines[:number], json.dumps(row).encode(), *lines[number + 1 :]]


@pytest.mark.parametrize(
    ("value", "path", "expected"),
    [
        pytest.param(
            None, ("higher_is_better", "voice_novice", "acc"), "direction-unknown", id="null"
        ),
        pytest.param(GONE, ("higher_is_better",), "direction-unknown", id="no-directions"),
        pytest.param(
            False,
            ("higher_is_better", "voice_novice", "acc"),
            "direction-contradicts",
            id="flipped",
        ),
        pytest.param(GONE, ("results", "voice_novice"), "unknown-task", id="no-task"),
        pytest.param(
            GONE, ("results", "voice_novice", "acc,none"), "unknown-metric", id="no-metric"
        ),
        pytest.param("0.9", ("results", "voice_novice", "acc,none"), "unknown-metric", id="a-text"),
        pytest.param(GONE, ("task_hashes", "voice_novice"), "no-samples", id="no-hash"),
        pytest.param(True, ("n-samples", "voice_novice", "effective"), "no-samples", id="no-count"),
        pytest.param(GONE, ("lm_eval_version",), "not-results", id="no-version"),
        pytest.param("\ud800", ("lm_eval_version",), "not-results", id="not-an-ascii-version"),
        pytest.param(math.nan, ("date",), "not-results", id="no-date"),
        pytest.param(1e300, ("date",), "not-results", id="a-date-out-of-range"),
        pytest.param("x", ("total_evaluation_time_seconds",), "not-results", id="no-duration"),
        pytest.param("inf", ("total_evaluation_time_seconds",), "not-results", id="without-end"),
    ],
)
def test_an_incomplete_results_file_is_refused(value, path, expected):
    assert expected in codes(changed(value, *path))


def test_a_document_of_another_kind_is_refused():
    assert codes({"results": [], "n-samples": 3}) == ["unknown-task", "not-results"]


def test_settings_that_cannot_be_recorded_refer_to_the_file():
    document = changed({"path": "\ud800"}, "config", "model_args")
    report, _, faults = read(document)
    assert faults == []
    assert report.settings["model_args"] == "see results.json"
    assert read(changed("x" * 5000, "config", "model"))[0].settings["model"] == "see results.json"
    deep = {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}}}
    assert read(changed(deep, "config", "model"))[0].settings["model"] == "see results.json"
    assert read()[0].settings["random_seed"] == 0


def test_two_runs_pair_by_task_filter_and_document():
    rows, faults, reasons = converted()
    given = [read_tool_object(line) for line in LINES]
    assert [row["id"] for row in rows] == [f"voice_novice/none/{row['doc_hash']}" for row in given]
    assert [row["prompt_sha256"] for row in rows] == [row["prompt_hash"] for row in given]
    assert [row["scores"] for row in rows] == [{"tone": row["acc"]} for row in given]
    assert (faults, reasons) == ([], [])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(LINES[:-1], ["other-samples"], id="one-left-out"),
        pytest.param(LINES[::-1], ["other-samples"], id="another-order"),
        pytest.param([*LINES, LINES[0]], ["other-samples"], id="one-twice"),
        pytest.param(rewritten({"prompt_hash": "0" * 64}), ["other-samples"], id="another-prompt"),
        pytest.param(rewritten({"prompt_hash": "x"}), ["sample-hash"], id="no-hash"),
        pytest.param(rewritten({"doc_hash": None}), ["sample-hash"], id="no-document"),
        pytest.param(rewritten({"acc": [1, 2]}), ["not-a-number"], id="a-list"),
        pytest.param(rewritten({"acc": "1"}), ["not-a-number"], id="a-text"),
        pytest.param(rewritten({"acc": None}), ["not-a-number"], id="null"),
        pytest.param(rewritten({"acc": math.inf}), ["not-a-number"], id="infinite"),
        pytest.param(rewritten({"acc": 10**400}), ["not-a-number"], id="a-long-number"),
        pytest.param([b"{}", *LINES], ["sample-hash"], id="empty"),
        pytest.param([b"[]", *LINES], ["not-not-an-object"], id="a-list-as-row"),
        pytest.param([b'{"acc": 1, "acc": 0}'], ["not-duplicate-key"], id="repeated-key"),
        pytest.param([b"x" * (LINE_LIMIT_BYTES + 1)], ["too-long"], id="too-long"),
    ],
)
def test_samples_that_are_not_those_of_the_results_are_refused(lines, expected):
    assert converted(lines)[1] == expected


def test_a_metric_that_a_row_lacks_is_a_fault():
    row = read_tool_object(LINES[0])
    del row["acc"]
    assert converted([json.dumps(row).encode(), *LINES[1:]])[1] == ["no-score"]


def test_a_changed_score_disagrees_with_the_reported_mean():
    """The tool's hash covers the prompts, not the scores."""
    flipped = 1.0 - read_tool_object(LINES[0])["acc"]
    assert converted(rewritten({"acc": flipped}))[1] == ["disagrees"]


def test_an_aggregate_that_is_not_a_mean_is_refused():
    document = changed(12.5, "results", "voice_novice", "acc,none")
    assert converted(document=document)[1] == ["disagrees"]


def test_a_boolean_counts_as_a_number():
    lines = LINES
    for number, line in enumerate(LINES):
        lines = rewritten({"acc": bool(read_tool_object(line)["acc"])}, lines, number)
    assert converted(lines)[0] == converted()[0]


def test_a_missing_aggregate_of_complete_scores_is_refused():
    document = changed(math.nan, "results", "voice_novice", "acc,none")
    assert converted(document=document)[1] == ["disagrees"]


def test_fewer_rows_than_were_evaluated_make_a_run_partial_and_more_are_refused():
    more = changed(7, "n-samples", "voice_novice", "effective")
    assert converted(document=more)[2] == ['"voice_novice": 6 of 7 samples have "none".']
    fewer = changed(5, "n-samples", "voice_novice", "effective")
    assert converted(document=fewer)[1] == ["disagrees"]


def test_a_document_that_occurs_twice_in_the_data_set_is_two_samples():
    reader = SamplesReader(read()[1][0])
    rows = [json.loads(reader.take(LINES[0])) for _ in range(3)]
    name = rows[0]["id"]
    assert [row["id"] for row in rows] == [name, f"{name}#2", f"{name}#3"]


def test_rows_of_other_filters_and_blank_lines_are_skipped():
    lines = the_samples("full", "voice_format").read_bytes().splitlines()
    mapped = TaskMap("voice_format", "novice", "en", {"exact_match,flexible": "tone"})
    rows, faults, reasons = converted([b"", *lines, b"\n"], mapped=mapped)
    assert (len(lines), len(rows), faults, reasons) == (12, 6, [], [])
    assert {row["id"].split("/")[1] for row in rows} == {"flexible"}


def test_reading_can_stop_when_there_are_many_faults():
    reader = SamplesReader(read()[1][0])
    for _ in range(FAULT_LIMIT):
        assert not reader.has_too_many_faults
        reader.take(b"{")
    assert reader.has_too_many_faults


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("samples_voice_2026-11-24T14-22-45.253855.jsonl", "voice"),
        ("out/model/samples_voice_2026-11-24T14-22-45.jsonl", "voice"),
        ("samples_a_b-c_2026-11-24T14-22-45.253855.jsonl.gz", "a_b-c"),
        ("results_2026-11-24T14-22-45.253855.json", None),
        ("samples_voice.jsonl", None),
        ("", None),
    ],
)
def test_the_task_of_a_samples_file_is_read_from_its_name(name, task):
    assert task_of_file(name) == task


def test_two_metrics_of_a_task_cannot_be_mapped_to_one():
    mapped = TaskMap("voice_novice", "novice", "en", {"acc,none": "tone", "acc_norm,none": "tone"})
    assert codes(mapped=mapped) == ["repeated-metric"]


@pytest.mark.parametrize(
    ("arguments", "model", "adapter"),
    [
        ("pretrained=tiny/llama,peft=acme/voice,dtype=float32", "tiny/llama", "acme/voice"),
        ({"pretrained": "tiny/llama", "peft": "acme/voice"}, "tiny/llama", "acme/voice"),
        ("model = served , lora_local_path=./a", "served", "./a"),
        ("odd", None, None),
        ("", None, None),
        (None, None, None),
        ({"pretrained": None}, None, None),
    ],
)
def test_a_run_names_its_model_and_adapter(arguments, model, adapter):
    report, _, _ = read(changed(arguments, "config", "model_args"))
    measured = report.measured
    assert (measured.engine, measured.model, measured.adapter) == ("hf", model, adapter)
    assert measured.names_adapters
