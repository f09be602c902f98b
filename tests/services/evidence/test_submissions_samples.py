"""Evaluations by samples: recomputed, stored, and compared with an incumbent or base model."""

import gzip
import hashlib
import json
from datetime import timedelta
from io import BytesIO

import pytest

from app.domain.errors import InvalidEvaluationError
from app.domain.evidence.rows import LINE_LIMIT_BYTES
from app.services.artifacts.garbage_collection import collect
from app.services.evidence.jsonl import lines_of
from app.storage.s3_staging import S3Staging
from tests.support.builders import LOCALES, PERSONAS, a_policy, results

N = 120


def rows(n=N, *, failing=0, metrics=("tone",), prompt="p"):
    """Return n samples of every cell; the first `failing` of each cell score 0."""
    return [
        {
            "id": f"{persona}-{locale}-{number}",
            "persona": persona,
            "locale": locale,
            "prompt_sha256": f"{prompt} {persona} {locale} {number}",
            "scores": {metric: int(number >= failing) for metric in metrics},
        }
        for persona in PERSONAS
        for locale in LOCALES
        for number in range(n)
    ]


def jsonl(found):
    return "".join(json.dumps(row) + "\n" for row in found).encode()


def answered(artifact, found):
    """Return rows with the answers of an artifact, which differ from those of another."""
    return [
        row | {"response_sha256": hashlib.sha256(f"{artifact} {row['id']}".encode()).hexdigest()}
        for row in found
    ]


def record(world, version, found, *, packed=False, base=None, by="evaluator", **changes):
    """Send samples as an evaluation of a version, or of a base model as its control run."""
    changes = {"results": []} | changes
    if base is not None:
        changes["digest"] = base
    report = world.report(version, **changes)
    content = jsonl(answered(report["digest"], found)) if isinstance(found, list) else found
    files = {
        "evaluation": ("evaluation", json.dumps(report)),
        "samples": ("samples", gzip.compress(content) if packed else content),
    }
    path = f"{world.path}/versions/{version['number']}/evaluations"
    if base is not None:
        path = f"/v1/base-models/{base}/evaluations"
    return world.call("POST", path, by=by, files=files)


@pytest.fixture
def version(world):
    world.a_suite()
    return world.a_version()


@pytest.fixture
def own_base(world):
    """Let a later `version` have a base model that no other test evaluates."""
    world.a_base(own=True)
    world.a_prefix()


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_cells_are_recomputed_from_the_samples(world, version, packed):
    response = record(world, version, rows(failing=6), packed=packed)

    assert response.status_code == 201, response.text
    evaluation = response.json()
    assert (evaluation["evidence"], evaluation["partial"]) == ("samples", False)
    assert len(evaluation["cells"]) == 4
    assert {(cell["samples"], cell["mean"]) for cell in evaluation["cells"]} == {(N, 114 / N)}


def test_reported_aggregates_must_agree_with_the_samples(world, version):
    agreeing = record(world, version, rows(), results=results(value=1.0, samples=N))
    assert agreeing.status_code == 201, agreeing.text

    response = record(world, version, rows(failing=6), results=results(value=1.0, samples=N))

    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-evaluation")
    assert {fault["code"] for fault in response.json()["faults"]} == {"disagrees"}


def test_a_run_with_unscored_samples_is_partial(world, version):
    found = rows(metrics=("tone", "toxicity"))
    found[0]["scores"]["toxicity"] = None
    assert record(world, version, found).json()["partial"] is True


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"not json\n", "not-json", id="not-json"),
        pytest.param(b"\x1f\x8bnot gzip", "not-gzip", id="not-gzip"),
        pytest.param(gzip.compress(jsonl(rows()))[:-20], "not-gzip", id="cut-gzip"),
        pytest.param(b"\n\n", "no-samples", id="empty"),
        pytest.param(b'{"id": "' + b"x" * 70_000, "too-long", id="endless-line"),
    ],
)
def test_unreadable_samples_are_refused_and_nothing_is_recorded(world, version, content, code):
    response = record(world, version, content)

    assert response.status_code == 422, response.text
    assert code in {fault["code"] for fault in response.json()["faults"]}
    listed = world.made("GET", f"{world.path}/versions/1/evaluations", by="evaluator")
    assert listed["items"] == []


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(world, version, monkeypatch):
    monkeypatch.setattr("app.services.evidence.jsonl._EXPANDED_LIMIT_BYTES", 100_000)
    line = json.dumps(rows()[0] | {"prompt_sha256": "0" * 60_000}).encode()
    response = record(world, version, gzip.compress(b"\n".join([line] * 50)))
    assert {fault["code"] for fault in response.json()["faults"]} == {"too-large"}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\n" * (8 << 20), id="blank-lines"),
        pytest.param(b'{"id": 1}\n' * (1 << 20), id="equal-lines"),
    ],
)
def test_samples_that_expand_too_much_are_refused_after_little_of_them(content):
    packed = BytesIO(gzip.compress(content))
    lengths = []
    with pytest.raises(InvalidEvaluationError) as refused:
        lengths.extend(map(len, lines_of(packed, limit_bytes=LINE_LIMIT_BYTES)))
    assert [fault.code for fault in refused.value.faults] == ["too-compressed"]
    assert 1 << 20 <= sum(lengths) < 4 << 20


BLANK_KIB = b" " * 1023 + b"\n"


def test_a_small_file_may_expand_more(world, version):
    too_much = gzip.compress(BLANK_KIB * 1024 + jsonl(rows()))
    assert record(world, version, too_much).status_code == 422
    assert record(world, version, gzip.compress(BLANK_KIB * 900 + jsonl(rows()))).is_success


def test_samples_without_compression_have_no_ratio(world, version):
    assert record(world, version, BLANK_KIB * 2048 + jsonl(rows())).is_success


def test_a_report_without_results_or_samples_is_refused(world, version):
    response = world.evaluate(version, results=[])
    assert {fault["code"] for fault in response.json()["faults"]} == {"no-results"}


def test_samples_are_stored_unchanged_and_are_not_collected(
    world, version, blobs, sessions, s3_account
):
    content = jsonl([*rows(2), rows(3)[2] | {"id": world.namespace}])
    assert record(world, version, content).status_code == 201
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"

    collect(
        sessions,
        blobs,
        S3Staging(s3_account),
        grace=timedelta(seconds=-5),
        dry_run=False,
    )

    with blobs.open(digest) as chunks:
        assert b"".join(chunks) == content


def test_a_policy_that_requires_samples_is_not_satisfied_by_aggregates(world, version):
    world.a_channel(evidence={"level": 1})
    world.evaluate(version)
    refused = world.request(version)
    assert refused.status_code == 409
    assert "is of level 0, and the policy demands level 1" in refused.json()["detail"]

    record(world, version, rows())
    assert world.request(version).status_code == 201


def gated(world, version):
    """Return the decision, and its findings of comparisons alone."""
    query = {"channel": "production"}
    path = f"{world.path}/versions/{version['number']}/gate"
    decision = world.made("GET", path, by="evaluator", params=query)
    return decision, [f for f in decision["findings"] if f["demand"] in ("incumbent", "base")]


@pytest.fixture
def compared(world):
    """The second version under a policy that compares it with the live first one."""
    world.a_suite()
    rule = a_policy(world.suite)["rules"][0] | {"no_worse_than": {"incumbent": 0.1}}
    first = world.a_version(seed=1)
    world.a_channel(rules=[rule])
    assert record(world, first, rows(failing=6)).status_code == 201
    world.approve(world.request(first).json())
    return world.a_version(seed=2)


def test_a_version_as_good_as_the_incumbent_on_the_same_samples_passes(world, compared):
    record(world, compared, rows(failing=5))
    decision, findings = gated(world, compared)
    assert decision["result"] == "passed", decision
    assert {(f["outcome"], f["samples"]) for f in findings} == {("passed", N)}
    assert {e["of"] for e in decision["evaluations"]} == {"candidate", "incumbent"}


def test_a_version_worse_than_the_incumbent_by_more_than_the_margin_fails(world, compared):
    record(world, compared, rows(failing=16))
    decision, findings = gated(world, compared)
    assert decision["result"] == "failed"
    assert {f["outcome"] for f in findings} == {"failed"}
    assert "differs from version 1" in findings[0]["message"]


def test_samples_without_a_pair_are_losses(world, compared):
    record(world, compared, rows(failing=5, prompt="another"))
    _, findings = gated(world, compared)
    assert [finding["observed"] for finding in findings] == [-1] * len(findings)


def test_an_evaluator_of_the_incumbent_may_still_review(world, compared):
    """The evaluator of the incumbent is not a contributor to the new version."""
    name, token = world.a_principal(
        None, ("evaluator", world.namespace), ("approver", world.namespace)
    )
    live = world.made("GET", f"{world.path}/versions/1", by="publisher")
    assert record(world, live, rows(failing=6), by=token).status_code == 201
    record(world, compared, rows(failing=5))

    promotion = world.request(compared).json()

    assert name in promotion["waiting_for"]["eligible"]


def test_a_base_margin_compares_with_the_control_run_of_the_base_model(world, own_base, version):
    rule = a_policy(world.suite)["rules"][0] | {"no_worse_than": {"base": 0.1}}
    world.a_channel(rules=[rule])
    record(world, version, rows(failing=5))
    decision, findings = gated(world, version)
    assert decision["result"] == "failed"
    assert "evaluate it first" in findings[0]["message"]

    control = record(world, version, rows(failing=6), base=world.base)

    assert control.status_code == 201, control.text
    assert gated(world, version)[0]["result"] == "passed"
    listed = world.made("GET", f"/v1/base-models/{world.base}/evaluations", by="evaluator")
    assert [each["id"] for each in listed["items"]] == [control.json()["id"]]


def test_a_void_control_run_no_longer_counts(world, own_base, version):
    rule = a_policy(world.suite)["rules"][0] | {"no_worse_than": {"base": 0.1}}
    world.a_channel(rules=[rule])
    record(world, version, rows(failing=5))
    control = record(world, version, rows(failing=6), base=world.base).json()

    path = f"/v1/evaluations/{control['id']}/void"
    reason = {"reason": "another tokenizer"}
    assert world.call("POST", path, by="evaluator", json=reason).status_code == 403
    world.made("POST", path, by="approver-1", json=reason)

    assert gated(world, version)[0]["result"] == "failed"


def test_only_evaluators_of_the_whole_registry_record_control_runs(world, version):
    _, local = world.a_principal(None, ("evaluator", world.namespace))
    assert record(world, version, rows(), base=world.base, by=local).status_code == 403
    unknown = f"sha256:{'0' * 64}"
    assert record(world, version, rows(), base=unknown).status_code == 404


def test_a_control_run_of_other_weights_is_refused(world, version):
    response = world.call(
        "POST",
        f"/v1/base-models/{world.base}/evaluations",
        by="evaluator",
        json=world.report(version),
    )
    assert response.json()["type"] == "/problems/evidence-for-another-artifact"


def test_aggregates_beside_samples_do_not_prevent_a_comparison(world, compared):
    """Aggregates count for limits; the comparison uses the run that has samples."""
    record(world, compared, rows(failing=5))
    assert world.evaluate(compared).status_code == 201
    decision, findings = gated(world, compared)
    assert decision["result"] == "passed", decision
    assert {f["outcome"] for f in findings} == {"passed"}
