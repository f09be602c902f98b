"""Evaluations of sealed suites, evidence levels, and evidence that is not what it says."""

import gzip
import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from app.db.evaluations import evaluations_named
from app.services.audit.sample_recheck import contradictions, recorded_samples
from tests.services.evidence.test_submissions_samples import gated, record, rows
from tests.services.evidence.test_suites_sealed import a_manifest, jsonl, seal
from tests.support.builders import a_digest, a_policy, code, results
from tests.support.imported import (
    METRICS,
    a_task,
    fault_codes,
    send_inspect,
    send_lm_eval,
    the_results,
)

N = 30
BOUNDED = [metric for metric in METRICS if metric["name"] != "length"]
TONE = {"name": "tone", "kind": "proportion", "higher_is_better": True}


@pytest.fixture
def manifest(world):
    """The rows of the manifest that seals the world's suite."""
    found = a_manifest(N, mark=world.namespace)
    suite = seal(world, found, metrics=[TONE])
    assert suite.status_code == 201, suite.text
    world.suite = suite.json()["name"]
    return found


@pytest.fixture
def version(world, manifest):
    """A version for a base model that no other test evaluates."""
    world.a_base(own=True)
    world.a_prefix()
    return world.a_version()


def scored(manifest, failing=0):
    """Return a row for each sample; the first `failing` of each cell score 0."""
    return [
        row | {"scores": {"tone": int(int(row["id"].rpartition("-")[2]) >= failing)}}
        for row in manifest
    ]


def made(response):
    assert response.status_code == 201, response.text
    return response.json()


def test_a_run_on_a_sealed_suite_has_level_2(world, version, manifest):
    evaluation = made(record(world, version, scored(manifest, failing=3)))
    assert (evaluation["level"], evaluation["level_reason"]) == (2, None)
    assert (evaluation["missing"], evaluation["partial"]) == (0, False)
    assert {(c["samples"], c["mean"], c["missing"]) for c in evaluation["cells"]} == {(N, 0.9, 0)}


@pytest.mark.parametrize("claim", [True, False])
def test_missing_rows_count_as_failures_whatever_the_run_claims(world, version, manifest, claim):
    """Neither leaving out losing rows nor calling a bad run partial has an effect."""
    rows_ = [row for row in scored(manifest, failing=3) if row["scores"]["tone"]]
    evaluation = made(record(world, version, rows_, partial=claim))
    assert (evaluation["level"], evaluation["missing"]) == (2, 12)
    assert (evaluation["partial"], evaluation["partial_reasons"]) == (False, [])
    assert {(c["samples"], c["mean"], c["missing"]) for c in evaluation["cells"]} == {(N, 0.9, 3)}
    listed = world.made("GET", f"{world.path}/versions/1/evaluations", by="evaluator")
    assert listed["items"] == [evaluation]


def test_rows_that_the_manifest_lacks_are_refused_and_nothing_is_recorded(world, version, manifest):
    found = scored(manifest)
    found[0] |= {"id": "renamed"}
    found[1] |= {"prompt_sha256": "a" * 64}
    assert fault_codes(record(world, version, found)) == ["not-in-manifest"] * 2
    listed = world.made("GET", f"{world.path}/versions/1/evaluations", by="evaluator")
    assert listed["items"] == []


def test_aggregates_of_a_sealed_suite_have_level_0(world, version):
    evaluation = made(world.evaluate(version))
    assert (evaluation["level"], evaluation["level_reason"]) == (
        0,
        "Only aggregates were reported.",
    )


def test_reported_aggregates_count_missing_samples_too(world, version, manifest):
    found = scored(manifest)[1:]
    assert fault_codes(record(world, version, found, results=results(value=1.0, samples=N))) == [
        "disagrees"
    ]


def test_samples_of_an_open_suite_have_level_1(world):
    world.a_suite()
    version = world.a_version()
    assert made(record(world, version, rows()))["level"] == 1


def test_a_control_run_on_a_sealed_suite_pairs_with_a_version(world, manifest):
    world.a_base(own=True)
    world.a_prefix()
    version = world.a_version()
    rule = a_policy(world.suite)["rules"][0]
    bound = {"no_worse_than": {"base": 0.2}, "min_samples": 10, "at_least": 0.5}
    world.a_channel(rules=[rule | bound])
    made(record(world, version, scored(manifest, failing=1)))
    control = made(record(world, version, scored(manifest), base=world.base))
    assert (control["level"], control["missing"]) == (2, 0)
    _, findings = gated(world, version)
    assert {f["samples"] for f in findings} == {N}


def test_a_run_must_state_the_settings_that_its_suite_pins(world):
    document = world.a_suite(settings={"temperature": 0})
    assert document["settings"] == {"temperature": 0}
    version = world.a_version()
    assert fault_codes(world.evaluate(version)) == ["setting-differs"]
    assert made(world.evaluate(version, settings={"temperature": 0, "seed": 2}))


# Evidence from before the version


def test_a_run_that_finished_before_the_push_has_level_0_with_the_reason(world, version, manifest):
    early = (datetime.now(UTC) - timedelta(days=9)).isoformat()  # noqa: TID251 - of the evaluator
    times = {"started_at": early, "finished_at": early}
    evaluation = made(record(world, version, scored(manifest), **times))
    assert (evaluation["level"], evaluation["evidence"]) == (0, "samples")
    assert evaluation["level_reason"].startswith("The run finished before the content was first")
    control = made(record(world, version, scored(manifest), base=world.a_base(), **times))
    assert control["level"] == 2


def test_the_level_is_part_of_the_digest_and_on_the_audit_log(world, version, manifest, sessions):
    evaluation = made(record(world, version, scored(manifest)))
    (entry,) = [e for e in world.audit() if e["action"] == "evaluation.record"]
    assert (entry["facts"]["level"], entry["facts"]["digest"]) == (2, evaluation["digest"])


# The samples of another artifact


@pytest.mark.parametrize("packed", [False, True])
def test_the_samples_of_another_version_are_refused(world, version, manifest, packed):
    content = jsonl(scored(manifest))
    made(record(world, version, content))
    other = world.a_version(seed=1)
    sent = gzip.compress(content) if packed else content
    if packed:
        made(record(world, version, sent))
    response = record(world, other, sent)
    assert (response.status_code, code(response)) == (409, "evidence-reused")
    response = record(world, other, sent, base=world.base)
    assert (response.status_code, code(response)) == (409, "evidence-reused")


def test_the_samples_of_a_control_run_are_refused_for_a_version(world, version, manifest):
    content = jsonl(scored(manifest))
    made(record(world, version, content, base=world.base))
    made(record(world, version, content, base=world.base))
    assert code(record(world, version, content)) == "evidence-reused"


def test_the_same_content_may_be_measured_again_with_equal_scores(world, version, manifest):
    content = jsonl(scored(manifest))
    made(record(world, version, content))
    made(record(world, version, content))


def test_a_digest_of_the_response_tells_equal_scores_apart(world, version, manifest):
    made(record(world, version, scored(manifest)))
    made(record(world, world.a_version(seed=1), scored(manifest)))


def test_equal_files_of_two_suites_are_not_compared(world, version, manifest):
    content = jsonl(scored(manifest))
    made(record(world, version, content))
    other = world.a_version(seed=1)
    world.suite = seal(world, manifest, metrics=[TONE]).json()["name"]
    made(record(world, other, content))


# Prompts of open suites


def test_a_prompt_under_two_personas_is_refused_on_an_open_suite(world):
    world.a_suite()
    version = world.a_version()
    found = rows(2)
    (expert,) = [n for n, row in enumerate(found) if row["id"] == "expert-en-0"]
    found[expert]["prompt_sha256"] = found[0]["prompt_sha256"]
    response = record(world, version, found)
    assert fault_codes(response) == ["prompt-in-two-cells"]
    message = response.json()["faults"][0]["message"]
    assert "'novice-en-0'" in message
    assert "'expert-en-0'" in message


# Imported runs


def rows_of_import(world, evaluation):
    path = f"/v1/evaluations/{evaluation['id']}/files/samples.jsonl"
    response = world.call("GET", path, by="approver-1")
    return [json.loads(line) for line in response.text.splitlines()]


def sealed_by(world, evaluation, **changes):
    """Seal a suite by the samples of a first run on an open suite, as the guide says."""
    names = ("id", "prompt_sha256", "persona", "locale")
    found = [{n: row[n] for n in names} | changes for row in rows_of_import(world, evaluation)]
    suite = seal(world, found, locales=["en"], metrics=BOUNDED)
    assert suite.status_code == 201, suite.text
    world.suite = suite.json()["name"]


FULL = [a_task(), a_task("voice_expert", "expert")]


def first_run(world, send):
    world.a_suite(locales=["en"], metrics=METRICS)
    version = world.a_version()
    evaluation = made(send(world, version))
    assert evaluation["level"] == 0
    assert "before the content was first pushed" in evaluation["level_reason"]
    sealed_by(world, evaluation)
    return version


def lm_eval(world, version):
    return send_lm_eval(world, version, "full", FULL)


def inspect(world, version):
    return send_inspect(world, version, "full.eval")


@pytest.mark.parametrize("send", [lm_eval, inspect])
def test_an_imported_run_is_checked_against_the_manifest(world, send):
    evaluation = made(send(world, first_run(world, send)))
    cells = {(c["metric"], c["persona"]): c for c in evaluation["cells"]}
    assert cells["tone", "novice"]["missing"] == cells["tone", "expert"]["missing"] == 0
    assert cells["grade", "novice"]["missing"] == cells["grade", "novice"]["samples"]


def test_a_limited_run_misses_samples_of_the_manifest(world):
    version = first_run(world, inspect)
    evaluation = made(send_inspect(world, version, "limited.eval"))
    assert (evaluation["partial"], evaluation["missing"] > 0) == (False, True)


def test_a_run_of_other_prompts_is_not_of_the_manifest(world):
    version = first_run(world, inspect)
    assert set(fault_codes(send_lm_eval(world, version, "full", FULL))) == {"not-in-manifest"}


def test_a_log_of_another_model_is_refused_with_its_words(world):
    world.a_suite(metrics=METRICS)
    version = world.a_version()
    path_of_results = the_results("full")
    document = json.loads(path_of_results.read_bytes())
    for config, expected in (
        ({"model": "dummy", "model_args": {}}, "no-model"),
        ({"model_args": "pretrained=meta/other,peft=./out"}, "another-model"),
        ({"model_args": "pretrained=tiny/llama,peft=acme/other"}, "another-adapter"),
        ({"model_args": "pretrained=tiny/llama"}, "no-adapter"),
    ):
        changed = document | {"config": document["config"] | config}
        response = send_lm_eval(world, version, "full", FULL, results=json.dumps(changed).encode())
        assert fault_codes(response) == [expected]


# Recheck


def recheck(world, sessions, blobs, evaluation):
    with sessions() as session:
        (recorded,) = recorded_samples(evaluations_named(session, [evaluation["id"]]))
    return list(contradictions(sessions, blobs, recorded))


def test_a_sealed_evaluation_is_rechecked_against_the_stored_manifest(
    world, version, manifest, sessions, blobs
):
    evaluation = made(record(world, version, scored(manifest, failing=3)[5:]))
    assert recheck(world, sessions, blobs, evaluation) == []


def test_a_lost_manifest_is_reported(world, version, manifest, sessions, blobs):
    evaluation = made(record(world, version, scored(manifest)))
    suite = world.made("GET", f"/v1/suites/{world.suite}/1", by="evaluator")
    digest = suite["dataset_digest"]
    with blobs.open(digest) as chunks:
        content = b"".join(chunks)
    blobs.delete(digest)
    try:
        (problem,) = recheck(world, sessions, blobs, evaluation)
    finally:
        blobs.put(io.BytesIO(content), digest=digest, size_bytes=len(content))
    assert problem.endswith("has a suite whose manifest is missing or damaged.")
    assert recheck(world, sessions, blobs, evaluation) == []


def test_a_manifest_that_the_suite_does_not_name_is_reported(
    world, version, manifest, sessions, blobs
):
    evaluation = made(record(world, version, scored(manifest)))
    with sessions() as session:
        (recorded,) = recorded_samples(evaluations_named(session, [evaluation["id"]]))
    recorded.suite.document = recorded.suite.document | {"dataset_digest": a_digest()}
    (problem,) = contradictions(sessions, blobs, recorded)
    assert problem.endswith("has a suite whose manifest is missing or damaged.")
