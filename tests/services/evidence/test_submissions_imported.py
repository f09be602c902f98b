"""Imported runs of other tools: recorded as evaluations, stored unchanged, and compared."""

import gzip
import hashlib
import io
import json
import zipfile
from datetime import timedelta

import pytest

from app.services.artifacts.garbage_collection import collect
from app.storage.archives import ArchiveLimits, opened_archive
from app.storage.s3_staging import S3Staging
from tests.services.evidence.test_submissions_samples import gated
from tests.support.builders import a_policy
from tests.support.imported import (
    INSPECT,
    METRICS,
    TWO_FILTERS,
    a_task,
    fault_codes,
    send_inspect,
    send_lm_eval,
    the_results,
    the_samples,
)

FULL = [a_task(), a_task("voice_expert", "expert"), TWO_FILTERS]


@pytest.fixture
def version(world):
    world.a_suite(metrics=METRICS)
    return world.a_version()


@pytest.fixture
def own_base(world):
    """Let a later `version` have a base model that no other test evaluates."""
    world.a_base(own=True)
    world.a_prefix()


def recorded(response):
    assert response.status_code == 201, response.text
    return response.json()


def means(evaluation):
    return {
        (cell["metric"], cell["persona"]): (cell["samples"], cell["mean"])
        for cell in evaluation["cells"]
    }


def download(world, evaluation, name, by="approver-1", **arguments):
    path = f"/v1/evaluations/{evaluation['id']}/files/{name}"
    return world.call("GET", path, by=by, **arguments)


def test_an_lm_eval_run_is_recorded_as_an_evaluation(world, version):
    evaluation = recorded(send_lm_eval(world, version, "full", FULL))

    reported = json.loads(the_results("full").read_text())["results"]
    assert means(evaluation) == {
        ("tone", "novice"): (6, pytest.approx(reported["voice_novice"]["acc,none"])),
        ("tone", "expert"): (6, pytest.approx(reported["voice_expert"]["acc,none"])),
        ("form", "novice"): (6, reported["voice_format"]["exact_match,strict"]),
        ("grade", "novice"): (6, reported["voice_format"]["exact_match,flexible"]),
    }
    assert evaluation["harness"] == {"name": "lm-eval", "version": "0.4.13"}
    assert (evaluation["evidence"], evaluation["partial"]) == ("samples", False)
    assert evaluation["settings"]["model"] == "hf"
    assert evaluation["started_at"] < evaluation["finished_at"]
    assert world.last_entry(f"prefix:{world.prefix}")["facts"]["digest"] == evaluation["digest"]
    listed = world.made("GET", f"{world.path}/versions/1/evaluations", by="evaluator")
    assert listed["items"] == [evaluation]


def test_an_inspect_run_is_recorded_as_an_evaluation(world, version):
    evaluation = recorded(send_inspect(world, version, "full.eval", polite="tone", friendly="form"))

    assert means(evaluation) == {
        (metric, persona): (2, 0.5)
        for metric in ("tone", "form")
        for persona in ("novice", "expert")
    }
    assert evaluation["harness"] == {"name": "inspect-ai", "version": "0.3.285"}
    assert (evaluation["evidence"], evaluation["partial"]) == ("samples", False)
    assert evaluation["partial_reasons"] == []
    assert evaluation["settings"]["task_version"] == 2
    assert evaluation["settings"]["model_args"] == "see log.eval"


def test_imported_files_are_stored_unchanged_and_can_be_downloaded(
    world, version, blobs, sessions, s3_account
):
    evaluation = recorded(send_lm_eval(world, version, "full", FULL))
    collect(
        sessions,
        blobs,
        S3Staging(s3_account),
        grace=timedelta(seconds=-5),
        dry_run=False,
    )

    sent = {"results.json": the_results("full").read_bytes()} | {
        f"samples_{task}.jsonl": the_samples("full", task).read_bytes()
        for task in ("voice_novice", "voice_expert", "voice_format")
    }
    listed = {file["name"]: file for file in evaluation["files"]}
    assert listed.keys() == {"samples.jsonl", *sent}
    for name, content in sent.items():
        response = download(world, evaluation, name)
        assert response.content == content
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert listed[name] == {"name": name, "sha256": digest, "size_bytes": len(content)}
        assert response.headers["etag"] == f'"{digest}"'
    unchanged = {"If-None-Match": response.headers["etag"]}
    assert download(world, evaluation, name, headers=unchanged).status_code == 304


def test_the_rows_of_an_imported_run_can_be_recorded_again(world, version):
    """The rows have the registry's own format, so an import can be checked."""
    first = recorded(send_inspect(world, version, "full.eval"))
    rows = download(world, first, "samples.jsonl").content
    report = world.report(version, results=[])
    files = {"evaluation": ("e", json.dumps(report)), "samples": ("s", rows)}
    path = f"{world.path}/versions/1/evaluations"

    again = world.made("POST", path, by="evaluator", files=files)

    assert again["cells"] == first["cells"]


def test_evidence_files_are_hidden_from_readers_and_strangers(world, own_base, version):
    evaluation = recorded(send_lm_eval(world, version, "limited", [a_task()]))
    control = recorded(send_inspect(world, version, "full.eval", base=world.base))
    _, insider = world.a_principal(None, ("publisher", world.namespace))
    _, local_reader = world.a_principal(None, ("reader", world.namespace))

    for caller, sees in (
        (insider, True),
        (world.a_stranger("admin"), False),
        (local_reader, False),
    ):
        response = download(world, evaluation, "results.json", by=caller)
        assert response.status_code == (200 if sees else 404), caller
    assert download(world, control, "log.eval", by=insider).status_code == 200
    assert download(world, control, "log.eval", by=local_reader).status_code == 404
    assert download(world, control, "log.json").status_code == 404
    assert download(world, {"id": version["digest"][7:39]}, "log.eval").status_code == 404


@pytest.mark.parametrize(
    ("send", "reasons"),
    [
        pytest.param(
            lambda world, version: send_lm_eval(world, version, "limited", [a_task()]),
            ["a limit of 4", "4 of 6 samples were evaluated"],
            id="lm-eval-limit",
        ),
        pytest.param(
            lambda world, version: send_lm_eval(
                world, version, "unscored", [a_task("voice_polite", politeness="grade")]
            ),
            ['1 of 6 samples have no "politeness,none"'],
            id="lm-eval-nan",
        ),
        pytest.param(
            lambda world, version: send_inspect(world, version, "limited.eval"),
            ["had a limit", "2 of the data set's 4 samples"],
            id="inspect-limit",
        ),
        pytest.param(
            lambda world, version: send_inspect(world, version, "chosen.eval"),
            ["chosen samples only", "1 of the data set's 4 samples"],
            id="inspect-chosen-samples",
        ),
        pytest.param(
            lambda world, version: send_inspect(world, version, "errors.eval"),
            ["2 of 4 samples were completed", "ended in an error", 'have no "polite"'],
            id="inspect-errors",
        ),
        pytest.param(
            lambda world, version: send_inspect(
                world, version, "unscored.eval", polite="tone", length="length"
            ),
            ['2 of 4 samples have no "length"'],
            id="inspect-nan",
        ),
        pytest.param(
            lambda world, version: send_inspect(world, version, "edited.eval"),
            ['1 of 4 samples had their "polite" edited'],
            id="inspect-edited",
        ),
        pytest.param(
            lambda world, version: send_inspect(world, version, "invalidated.eval"),
            ["marked as invalidated", "1 of 4 samples were invalidated"],
            id="inspect-invalidated",
        ),
    ],
)
def test_a_partial_run_is_recorded_with_its_reasons(world, version, send, reasons):
    evaluation = recorded(send(world, version))

    assert evaluation["partial"] is True
    found = evaluation["partial_reasons"]
    assert [any(reason in each for each in found) for reason in reasons] == [True] * len(reasons)
    assert len(found) == len(reasons), found


def test_epochs_are_one_sample_with_their_mean(world, version):
    evaluation = recorded(send_inspect(world, version, "epochs.eval", polite="grade"))
    rows = download(world, evaluation, "samples.jsonl").text.splitlines()

    assert means(evaluation)["grade", "novice"] == (2, 1 / 3)
    assert [json.loads(row)["scores"]["grade"] for row in rows] == [1 / 3] * 4
    refused = send_inspect(world, version, "epochs.eval", polite="tone")
    assert fault_codes(refused) == ["epochs-of-a-proportion"]


def test_both_log_formats_give_the_same_rows(world, version):
    packed = recorded(send_inspect(world, version, "chosen.eval", polite="tone"))
    plain = recorded(send_inspect(world, version, "chosen.json", polite="tone"))

    found = [download(world, run, "samples.jsonl").content for run in (packed, plain)]
    assert found[0] == found[1]
    assert [file["name"] for file in plain["files"]] == ["log.json", "samples.jsonl"]


@pytest.mark.parametrize("tool", ["lm-eval", "inspect"])
def test_runs_of_a_version_and_its_base_model_are_paired_by_sample(world, own_base, version, tool):
    one_cell = {"personas": ["novice"], "locales": ["en"]}
    rule = a_policy(world.suite)["rules"][0] | {"no_worse_than": {"base": 0.1}} | one_cell
    world.a_channel(rules=[rule])
    if tool == "inspect":
        recorded(send_inspect(world, version, "full.eval"))
        log = io.BytesIO((INSPECT / "full.eval").read_bytes())
        with zipfile.ZipFile(log, "a") as archive:
            archive.comment = b"another run"
        recorded(send_inspect(world, version, "full.eval", content=log.getvalue(), base=world.base))
    else:
        recorded(send_lm_eval(world, version, "full", FULL))
        paths = [the_samples("full", each["task"]) for each in FULL]
        other = [(path.name, path.read_bytes() + b"\n") for path in paths]
        results = the_results("full").read_bytes() + b"\n"
        sent = {"samples": other, "results": results, "base": world.base}
        recorded(send_lm_eval(world, version, "full", FULL, **sent))

    _, findings = gated(world, version)

    assert [finding["samples"] for finding in findings] == [2 if tool == "inspect" else 6]
    listed = world.made("GET", f"/v1/base-models/{world.base}/evaluations", by="evaluator")
    assert listed["items"][0]["harness"]["name"].startswith(tool)


def test_an_import_of_another_artifact_is_refused(world, version):
    response = send_inspect(world, version, "full.eval", described={"digest": world.base})
    assert response.json()["type"] == "/problems/evidence-for-another-artifact"


def test_gzipped_samples_give_the_same_cells(world, version):
    path = the_samples("limited", "voice_novice")
    packed = [(f"{path.name}.gz", gzip.compress(path.read_bytes()))]
    plain = recorded(send_lm_eval(world, version, "limited", [a_task()]))
    assert (
        recorded(send_lm_eval(world, version, "limited", [a_task()], samples=packed))["cells"]
        == plain["cells"]
    )


def test_all_faults_of_a_mapping_are_reported_at_once(world, version):
    maps = [
        a_task("voice_mixed"),
        a_task("voice_blunt", "unknown", "fr", acc="tone", f1="warmth"),
        a_task("voice_blunt"),
    ]
    response = send_lm_eval(world, version, "mixed", maps, samples=[])

    assert fault_codes(response) == ["missing"]  # further checks need the samples
    response = send_lm_eval(
        world, version, "mixed", maps, samples=[the_samples("mixed", "voice_novice")]
    )
    assert sorted(set(fault_codes(response))) == [
        "direction-contradicts",
        "missing-samples",
        "repeated-task",
        "unknown-locale",
        "unknown-metric",
        "unknown-persona",
        "unknown-samples",
        "unknown-task",
    ]
    listed = world.made("GET", f"{world.path}/versions/1/evaluations", by="evaluator")
    assert listed["items"] == []


def test_a_metric_whose_direction_agrees_with_the_suite_is_accepted(world, version):
    maps = [a_task("voice_blunt", acc="bluntness")]
    assert recorded(send_lm_eval(world, version, "mixed", maps))["partial"] is False


@pytest.mark.parametrize(
    ("metrics", "codes"),
    [
        pytest.param({"mapped": "grade"}, {"not-a-number"}, id="a-map"),
        pytest.param({"graded": "tone"}, {"value-out-of-range"}, id="half-a-success"),
        pytest.param({"match": "tone"}, {"unknown-scorer"}, id="scorer"),
        pytest.param({"graded": "warmth"}, {"unknown-metric"}, id="metric"),
        pytest.param({"graded": "grade", "mapped": "grade"}, {"repeated-metric"}, id="twice"),
    ],
)
def test_scores_that_do_not_fit_the_suite_are_refused(world, version, metrics, codes):
    assert set(fault_codes(send_inspect(world, version, "values.eval", **metrics))) == codes


def test_letter_grades_have_the_tool_s_numeric_values(world, version):
    evaluation = recorded(send_inspect(world, version, "values.eval", graded="grade"))
    assert means(evaluation) == {("grade", "novice"): (2, 0.75), ("grade", "expert"): (2, 0.0)}


@pytest.mark.parametrize("source", [{}, {"metadata": "a", "value": "b"}], ids=["none", "both"])
def test_a_persona_has_exactly_one_source(world, version, source):
    response = send_inspect(world, version, "full.eval", described={"persona": source})
    assert response.json()["type"] == "/problems/invalid-request"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"PK\x03\x04 and no more", "not-a-log", id="broken-zip"),
        pytest.param((INSPECT / "full.eval").read_bytes()[:-3000], "not-a-log", id="cut-zip"),
        pytest.param(b"{", "not-a-log", id="broken-json"),
        pytest.param(b"{}", "not-a-log", id="no-log"),
        pytest.param(b'{"a": 1, "a": 2}', "not-a-log", id="repeated-key"),
        pytest.param(b"[" * 100_000, "not-a-log", id="deep"),
    ],
)
def test_a_file_that_is_not_a_log_is_refused(world, version, content, code):
    assert code in fault_codes(send_inspect(world, version, "log", content=content))


def test_a_large_json_log_must_be_sent_as_an_archive(world, version, monkeypatch):
    monkeypatch.setattr("app.services.evidence.inspect_logs._DOCUMENT_LIMIT_BYTES", 1000)
    response = send_inspect(world, version, "chosen.json")
    assert fault_codes(response) == ["too-large"]
    assert "inspect log convert" in response.json()["faults"][0]["message"]


def without_header(*, keep=("_journal/start.json", "samples/")):
    """Return the log of a run that was interrupted before its header was written."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w") as archive,
        opened_archive(
            io.BytesIO((INSPECT / "full.eval").read_bytes()), ArchiveLimits(1 << 20, 1 << 22)
        ) as log,
    ):
        for name in log.names:
            if name.startswith(keep):
                archive.writestr(name, log.read(name))
    return file.getvalue()


def test_an_interrupted_log_is_a_partial_run(world, version):
    evaluation = recorded(send_inspect(world, version, "log.eval", content=without_header()))
    assert evaluation["partial_reasons"] == [
        "The run's status is started, not success.",
        "0 of ? samples were completed.",
    ]
    response = send_inspect(world, version, "log", content=without_header(keep=("samples/",)))
    assert fault_codes(response) == ["not-a-log"]
    assert "it has no header" in response.json()["faults"][0]["message"]


def test_the_number_of_reported_faults_is_limited(world, version):
    log = json.loads((INSPECT / "chosen.json").read_text())
    log["samples"] = [{}] * 1000
    response = send_inspect(world, version, "log", content=json.dumps(log).encode())
    assert len(fault_codes(response)) == 20
    path = the_samples("full", "voice_novice")
    response = send_lm_eval(
        world, version, "full", [a_task()], samples=[(path.name, b"{}\n" * 1000)]
    )
    assert len(fault_codes(response)) == 20


@pytest.mark.parametrize(
    ("results", "why"),
    [
        pytest.param(b'{"a": 1, "a": 2}', 'the key "a" is given more than once', id="repeated-key"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", "a number in it is too long", id="number"),
        pytest.param(b'{"a": ' + b"[" * 100_000, "nested too deep to read", id="deep"),
        pytest.param(b"[]", "not an object", id="list"),
    ],
)
def test_results_that_cannot_be_read_are_refused(world, version, results, why):
    response = send_lm_eval(world, version, "full", [a_task()], results=results)
    assert fault_codes(response) == ["not-results"]
    assert why in response.json()["faults"][0]["message"]


def test_each_task_has_one_file_of_samples(world, version):
    path = the_samples("full", "voice_novice")
    response = send_lm_eval(world, version, "full", [a_task()], samples=[path, path])
    assert fault_codes(response) == ["repeated-samples"]
    alike = path.name.replace("voice_novice", "voice:novice")
    response = send_lm_eval(
        world,
        version,
        "full",
        [a_task(), a_task("voice:novice")],
        samples=[path, (alike, path.read_bytes())],
    )
    assert fault_codes(response) == ["unknown-task", "repeated-samples"]


def test_more_files_than_a_run_may_have_are_refused(world, version):
    samples = [(f"samples_{n}_2026-11-24T14-22-45.jsonl", b"") for n in range(65)]
    response = send_lm_eval(world, version, "full", [a_task()], samples=samples)
    assert "more than 64 times" in response.json()["faults"][0]["message"]
