"""Inspect: the parts of its logs that are used, and the contradictions that are refused."""

import copy
import json
import math
from dataclasses import replace

import pytest

from app.domain.evidence.imports.inspect_log import LogMap, Source, read_header
from app.domain.evidence.imports.inspect_samples import LogSamples
from app.domain.evidence.rows import FAULT_LIMIT
from app.domain.strict_json import read_tool_object
from tests.support.evidence import BLEU, TONE, a_suite
from tests.support.imported import INSPECT

SUITE = a_suite(metrics=(TONE, BLEU))
MAP = LogMap(Source(metadata="persona"), Source(value="en"), {"polite": "tone"})
LOG = read_tool_object((INSPECT / "chosen.json").read_bytes())
COMPLETE = copy.deepcopy(LOG)
COMPLETE["eval"]["config"]["sample_id"] = None
COMPLETE["eval"]["dataset"]["samples"] = 1
(SAMPLE,) = COMPLETE["samples"]


def changed(value, *path, document=COMPLETE):
    document = copy.deepcopy(document)
    *above, last = path
    below = document
    for name in above:
        below = below[name]
    below[last] = value
    return document


def header(document=COMPLETE, mapped=MAP, suite=SUITE):
    return read_header(document, mapped, suite, "log.json")


def read(*samples, document=COMPLETE, mapped=MAP, sealed=False):
    """Return the rows of samples, the codes of their faults, and why the run is partial."""
    report, found, faults = header(document, mapped)
    assert faults == []
    reader = LogSamples(found, mapped, sealed=sealed)
    for sample in samples:
        reader.take(sample, "a sample")
    reasons = [*report.partial_reasons, *reader.finish()]
    return [json.loads(row) for row in reader.rows()], [f.code for f in reader.faults], reasons


def scored(value, **changes):
    return SAMPLE | {"scores": {"polite": {"value": value, "history": []}}} | changes


def unreported(document=COMPLETE):
    """Return a log without results, so that any score agrees with it."""
    return changed([], "results", "scores", document=document)


def test_a_complete_run_is_not_partial():
    rows, faults, reasons = read(SAMPLE)
    assert (faults, reasons) == ([], [])
    assert [row["scores"] for row in rows] == [{"tone": 1.0}]


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        pytest.param("cancelled", ("status",), "status is cancelled", id="cancelled"),
        pytest.param("error", ("status",), "status is error", id="error"),
        pytest.param("started", ("status",), "status is started", id="started"),
        pytest.param(True, ("invalidated",), "invalidated", id="invalidated"),
        pytest.param(None, ("invalidated",), "invalidated", id="not-said-to-be-valid"),
        pytest.param(3, ("eval", "config", "limit"), "a limit", id="limit"),
        pytest.param("q", ("eval", "config", "sample_id"), "chosen samples", id="chosen"),
        pytest.param({}, ("results", "early_stopping"), "stopped early", id="early-stopping"),
        pytest.param(9, ("results", "total_samples"), "1 of 9 samples", id="not-completed"),
        pytest.param(None, ("results", "total_samples"), "1 of ? samples", id="no-total"),
        pytest.param(2, ("eval", "dataset", "samples"), "1 of the data set's 2", id="selected"),
        pytest.param(
            ["novice-login", "x"], ("eval", "dataset", "sample_ids"), "1 of the run's", id="absent"
        ),
    ],
)
def test_a_report_states_why_its_run_is_partial(value, path, reason):
    _, faults, reasons = read(SAMPLE, document=changed(value, *path))
    assert faults == []
    assert len(reasons) == 1, reasons
    assert reason in reasons[0]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        pytest.param("done", ("status",), id="status"),
        pytest.param({}, ("eval", "packages"), id="no-version"),
        pytest.param("yesterday", ("stats", "started_at"), id="no-start"),
        pytest.param(None, ("eval", "task"), id="no-task"),
        pytest.param([], ("eval",), id="no-run"),
    ],
)
def test_an_invalid_header_is_refused(value, path):
    document = changed("2026-11-24T14:00:00", "eval", "created")  # a time without an offset
    assert [fault.code for fault in header(changed(value, *path, document=document))[2]] in (
        ["not-a-log"],
        ["unknown-scorer", "not-a-log"],
    )


def test_a_run_without_an_end_ends_when_it_began():
    document = changed("", "stats", "completed_at", document=changed("", "stats", "started_at"))
    report, _, faults = header(document)
    assert faults == []
    assert report.started_at == report.finished_at


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("C", 1.0),
        ("I", 0.0),
        ("P", 0.5),
        ("N", 0.0),
        (True, 1.0),
        (False, 0.0),
        (7, 7.0),
        (0.25, 0.25),
        (math.nan, None),
    ],
)
def test_a_value_is_the_number_that_it_stands_for(value, expected):
    rows, faults, reasons = read(scored(value), document=unreported())
    assert (faults, rows[0]["scores"]) == ([], {"tone": expected})
    assert reasons == ([] if expected is not None else ['1 of 1 samples have no "polite".'])


@pytest.mark.parametrize(
    "value", ["yes", "", None, [1], {"a": 1}, math.inf, -(10**400)], ids=lambda v: repr(v)[:8]
)
def test_a_value_that_is_not_a_number_is_refused(value):
    assert read(scored(value), document=unreported())[1] == ["not-a-number"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"id": None}, "sample-id", id="no-id"),
        pytest.param({"id": True}, "sample-id", id="a-boolean-as-id"),
        pytest.param({"epoch": 0}, "sample-id", id="no-epoch"),
        pytest.param({"metadata": {}}, "no-persona", id="no-persona"),
        pytest.param({"metadata": {"persona": 3}}, "no-persona", id="a-number-as-persona"),
        pytest.param({"metadata": None}, "no-persona", id="no-metadata"),
    ],
)
def test_a_sample_that_cannot_be_mapped_is_refused(changes, expected):
    assert read(SAMPLE | changes)[1] == [expected]


def test_a_sample_occurs_once_in_each_epoch():
    assert read(SAMPLE, SAMPLE)[1] == ["duplicate-sample"]
    assert read(scored("C", id=1), scored("C", id="1"), document=unreported())[1] == [
        "duplicate-sample"
    ]


def test_epochs_are_averaged_and_a_missing_one_is_reported():
    second = changed({"persona": "expert"}, "metadata", document=SAMPLE) | {"id": "other"}
    epochs = [scored(value, epoch=n) for n, value in enumerate(["C", "I", "I"], start=1)]
    document = changed(None, "eval", "dataset", "sample_ids", document=unreported())
    mapped = LogMap(MAP.persona, MAP.locale, {"polite": "bleu"})
    rows, faults, reasons = read(*epochs, second, document=document, mapped=mapped)
    assert faults == []
    assert [row["scores"]["bleu"] for row in rows] == [1 / 3, 1.0]
    assert reasons == ["1 samples ran for fewer than 3 epochs."]


def test_epochs_of_one_sample_have_one_persona():
    other = SAMPLE | {"epoch": 2, "metadata": {"persona": "expert"}}
    assert read(SAMPLE, other)[1] == ["epochs-differ"]


@pytest.mark.parametrize(
    ("document", "samples"),
    [
        pytest.param(changed(2, "results", "completed_samples"), [SAMPLE], id="samples-left-out"),
        pytest.param(COMPLETE, [scored("I")], id="another-mean"),
        pytest.param(COMPLETE, [scored(math.nan)], id="another-count"),
    ],
)
def test_samples_that_contradict_the_results_are_refused(document, samples):
    assert read(*samples, document=document)[1] == ["disagrees"]


@pytest.mark.parametrize(
    "changes",
    [{"reducer": "max"}, {"metrics": {"accuracy": {"name": "accuracy", "value": 0, "group": "g"}}}],
    ids=["reducer", "group"],
)
def test_an_aggregate_that_is_not_the_mean_of_all_samples_is_not_compared(changes):
    score = COMPLETE["results"]["scores"][0] | changes
    assert read(SAMPLE, document=changed([score], "results", "scores"))[1] == []


def test_an_edit_is_flagged_even_if_its_provenance_is_odd():
    for history in (["x"], [{"provenance": {"author": "alice"}}]):
        edited = SAMPLE | {"scores": {"polite": {"value": "C", "history": history}}}
        assert read(edited)[2] == ['1 of 1 samples had their "polite" edited after the run.']


def prompt(**changes):
    (row,), _, _ = read(SAMPLE | changes)
    return row["prompt_sha256"]


def test_the_prompt_is_all_input_of_the_model_before_its_first_reply():
    system, user, answer = SAMPLE["messages"]
    renamed = [message | {"id": "another"} for message in (system, user)]
    assert prompt(messages=[*renamed, answer | {"content": "otherwise"}]) == prompt()
    assert prompt(messages=[system | {"content": "Be rude."}, user, answer]) != prompt()
    assert prompt(input="another question") != prompt()
    assert prompt(input=[user]) == prompt(input=[user | {"id": "another"}])
    assert prompt(choices=["a", "b"]) != prompt()
    assert prompt(messages=None, input=[3]) != prompt(messages=["x"])


def test_a_sample_with_different_prompts_has_a_digest_of_all_of_them():
    epochs = [SAMPLE, SAMPLE | {"epoch": 2, "input": "another question"}]
    (row,), _, _ = read(*epochs)
    (reverse,), _, _ = read(*epochs[::-1])
    assert row["prompt_sha256"] == reverse["prompt_sha256"] != prompt()


def test_a_scorer_is_unknown_only_if_the_log_names_its_scorers():
    mapped = LogMap(MAP.persona, MAP.locale, {"match": "tone"})
    assert [fault.code for fault in header(mapped=mapped)[2]] == ["unknown-scorer"]
    broken_off = changed(None, "results")
    assert header(broken_off, mapped)[2] == []


def test_results_that_are_not_scores_are_skipped():
    scores = ["polite", None, *COMPLETE["results"]["scores"]]
    odd = changed(scores, "results", "scores")
    mapped = LogMap(MAP.persona, MAP.locale, {"match": "tone"})
    (fault,) = header(odd, mapped)[2]
    assert fault.message == 'The log has no scorer "match"; it has "friendly", "polite".'
    assert read(SAMPLE, document=odd)[1:] == ([], [])


def test_a_fixed_persona_or_locale_must_be_defined_by_the_suite():
    mapped = LogMap(Source(value="pirate"), Source(value="fr"), {"polite": "tone"})
    assert [fault.code for fault in header(mapped=mapped)[2]] == [
        "unknown-persona",
        "unknown-locale",
    ]


def test_reading_can_stop_when_there_are_many_faults():
    reader = LogSamples(header()[1], MAP)
    for _ in range(FAULT_LIMIT):
        assert not reader.has_too_many_faults
        reader.take({}, "a sample")
    assert reader.has_too_many_faults


def test_an_epoch_without_a_persona_has_that_fault_alone():
    unmapped = SAMPLE | {"epoch": 2, "metadata": {}}
    _, faults, _ = read(SAMPLE, unmapped)
    assert faults == ["no-persona"]


def test_every_sample_must_have_run_for_all_epochs_of_the_configuration():
    document = changed(2, "eval", "config", "epochs", document=unreported())
    mapped = LogMap(MAP.persona, MAP.locale, {"polite": "bleu"})
    _, _, reasons = read(scored("C"), document=document, mapped=mapped)
    assert reasons == ["1 samples ran for fewer than 2 epochs."]


FLAWS = [
    pytest.param({"error": {"message": "it crashed"}}, "ended in an error", id="error"),
    pytest.param({"limit": {"type": "token", "limit": 9}}, "cut off at a limit", id="limit"),
    pytest.param({"invalidation": {"author": "a"}}, "were invalidated", id="invalidated"),
    pytest.param(
        {"scores": {"polite": {"value": "C", "history": [{"provenance": {"author": "a"}}]}}},
        "edited after the run",
        id="edited",
    ),
]


@pytest.mark.parametrize(("changes", "reason"), FLAWS)
def test_a_sample_that_did_not_end_by_itself_makes_an_open_run_partial(changes, reason):
    rows, faults, reasons = read(scored("C") | changes, document=unreported())
    assert (rows[0]["scores"], faults) == ({"tone": 1.0}, [])
    assert [reason in each for each in reasons] == [True]


@pytest.mark.parametrize(("changes", "reason"), FLAWS)
def test_a_sample_that_did_not_end_by_itself_has_no_score_on_a_sealed_suite(changes, reason):
    rows, _, _ = read(scored("C") | changes, document=unreported(), sealed=True)
    assert rows[0]["scores"] == {"tone": None}


@pytest.mark.parametrize("value", [math.nan, ...], ids=["nan", "none"])
def test_epochs_without_a_score_cannot_be_left_out_on_a_sealed_suite(value):
    """Otherwise the mean would be over the epochs that an evaluator chose."""
    second = scored(value, epoch=2) if value is not ... else SAMPLE | {"epoch": 2, "scores": {}}
    document = changed(2, "eval", "config", "epochs", document=unreported())
    mapped = LogMap(MAP.persona, MAP.locale, {"polite": "bleu"})
    for epochs in ([scored("C"), second], [scored("C")]):
        rows, _, _ = read(*epochs, document=document, mapped=mapped, sealed=True)
        assert rows[0]["scores"] == {"bleu": None}
    whole = [scored("C"), scored("I", epoch=2)]
    rows, _, _ = read(*whole, document=document, mapped=mapped, sealed=True)
    assert rows[0]["scores"] == {"bleu": 0.5}


def test_an_invalidated_log_is_refused_on_a_sealed_suite():
    document = changed(True, "invalidated")  # noqa: FBT003 - the field's value
    sealed = replace(SUITE, sealed=True)
    assert [f.code for f in header(document, suite=sealed)[2]] == ["invalidated"]
    assert header(suite=sealed)[2] == []


@pytest.mark.parametrize(
    ("model", "engine", "name"),
    [
        ("mockllm/model", "mockllm", "model"),
        ("hf/local", "hf", None),
        ("hf/tiny/llama", "hf", "tiny/llama"),
        ("none", "none", None),
        (None, "", None),
    ],
)
def test_the_log_names_its_model(model, engine, name):
    measured = header(changed(model, "eval", "model"))[0].measured
    assert (measured.engine, measured.model, measured.adapter) == (engine, name, None)
    assert not measured.names_adapters
