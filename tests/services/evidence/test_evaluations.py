"""Evaluations: recording them, voiding them, and their effect on the gate."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.builders import a_digest, code, results


def faults(response):
    assert code(response) == "invalid-evaluation", response.text
    return {fault["code"] for fault in response.json()["faults"]}


@pytest.fixture
def version(world):
    world.a_suite()
    return world.a_version()


def evaluations(world, *, by="publisher"):
    return world.made("GET", f"{world.path}/versions/1/evaluations", by=by)["items"]


def test_a_recorded_evaluation_is_read_back_as_reported(world, version):
    recorded = world.evaluate(version).json()

    assert (recorded["evidence"], recorded["partial"]) == ("aggregates", False)
    assert (recorded["suite"], recorded["suite_version"]) == (world.suite, "1")
    assert recorded["evaluator"] == "evaluator"
    assert len(recorded["cells"]) == 4
    assert recorded["cells"][0]["mean"] == 0.95
    assert evaluations(world) == [recorded]


def test_a_recorded_evaluation_is_listed_where_its_response_says(world, version):
    response = world.evaluate(version)
    listed = world.made("GET", response.headers["Location"], by="publisher")["items"]
    assert listed == [response.json()]


def test_an_audit_entry_holds_the_digest_of_an_evaluation(world, version):
    recorded = world.evaluate(version).json()

    entry = world.audit()[-1]

    assert entry["action"] == "evaluation.record"
    assert entry["facts"]["digest"] == recorded["digest"]


def test_evidence_cannot_be_moved_to_another_version(world, version):
    other = world.a_version(seed=2)

    response = world.evaluate(other, digest=version["digest"])

    assert (response.status_code, code(response)) == (409, "evidence-for-another-artifact")


def test_the_same_report_twice_is_two_evaluations(world, version):
    report = world.report(version)
    path = f"{world.path}/versions/1/evaluations"
    first, second = (world.made("POST", path, by="evaluator", json=report) for _ in range(2))
    assert first["digest"] != second["digest"]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({"results": results(metric="speed")}, "unknown-metric", id="metric"),
        pytest.param({"results": results(personas=["king"])}, "unknown-persona", id="persona"),
        pytest.param({"results": results(locales=["xx"])}, "unknown-locale", id="locale"),
        pytest.param({"results": results(value=1.5)}, "value-out-of-range", id="range"),
        pytest.param({"results": results(value=0.123)}, "not-a-proportion", id="proportion"),
        pytest.param({"results": results(samples=0)}, "no-samples", id="no-samples"),
        pytest.param({"results": results() * 2}, "cell-repeated", id="repeated"),
        pytest.param({"finished_at": "2001-01-01T00:00:00Z"}, "ends-before-start", id="backwards"),
        pytest.param({"finished_at": "2999-01-01T00:00:00Z"}, "ends-in-future", id="future"),
    ],
)
def test_a_report_that_contradicts_its_suite_is_refused(world, version, changes, fault):
    response = world.evaluate(version, **changes)

    assert response.status_code == 422
    assert faults(response) == {fault}
    assert evaluations(world) == []


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_value_that_is_not_a_number_is_refused(world, version, value):
    report = world.report(version)
    report["results"][0]["value"] = "NUMBER"
    path = f"{world.path}/versions/1/evaluations"
    text = json.dumps(report).replace('"NUMBER"', value)
    headers = {"Content-Type": "application/json"}
    response = world.call("POST", path, by="evaluator", content=text, headers=headers)
    assert response.status_code == 422
    assert faults(response) == {"value-out-of-range"}
    assert evaluations(world) == []


def test_clocks_may_differ_by_minutes(world, version):
    ahead = datetime.now(UTC) + timedelta(minutes=4)  # noqa: TID251 - an evaluator's clock
    assert world.evaluate(version, finished_at=ahead.isoformat()).status_code == 201


def test_all_faults_are_reported_at_once(world, version):
    response = world.evaluate(
        version,
        results=[*results(metric="speed"), *results(personas=["king"])],
        finished_at="2001-01-01T00:00:00Z",
    )
    assert faults(response) == {"unknown-metric", "unknown-persona", "ends-before-start"}


def test_a_suite_version_that_is_not_registered_is_refused(world, version):
    response = world.evaluate(version, suite_version="2")
    assert (response.status_code, code(response)) == (422, "unknown-reference")


def test_a_version_that_does_not_exist_has_no_evaluations(world, version):
    response = world.evaluate({"number": 7, "digest": a_digest()})
    assert (response.status_code, code(response)) == (404, "not-found")


@pytest.mark.parametrize("role", ["publisher", "approver-1", "admin"])
def test_only_evaluators_record_evaluations(world, version, role):
    response = world.evaluate(version, by=role)
    assert (response.status_code, code(response)) == (403, "forbidden")


def test_a_base_model_that_is_not_registered_has_no_control_runs(world):
    response = world.call("GET", f"/v1/base-models/{a_digest()}/evaluations", by="evaluator")
    assert (response.status_code, code(response)) == (404, "not-found")


# The gate


def test_running_again_until_green_does_not_help(world):
    version = world.a_version()
    world.a_channel()
    world.evaluate(version, results=results(value=0.5))
    world.evaluate(version, results=results(value=1))
    assert world.gate(version).json()["result"] == "failed"


def test_a_partial_evaluation_satisfies_no_rule(world):
    version = world.a_version()
    world.a_channel()

    world.evaluate(version, partial=True)

    found = {finding["outcome"] for finding in world.gate(version).json()["findings"]}
    # The type of the artifact passes, and a notice says that the run is partial.
    assert found == {"passed", "missing", "notice"}


def test_evidence_of_another_version_does_not_count(world):
    first, second = world.a_version(seed=1), world.a_version(seed=2)
    world.a_channel()
    world.evaluate(first)
    assert world.gate(first).json()["result"] == "passed"
    assert world.gate(second).json()["result"] == "failed"


def test_a_contributor_cannot_be_the_only_evaluator_where_the_policy_excludes_it(world):
    _, token = world.a_principal(
        None, ("publisher", world.namespace), ("evaluator", world.namespace), kind="service"
    )
    world.a_base()
    world.a_prefix()
    version = world.push(by=token).json()
    world.a_channel(evidence={"exclude_evaluators": ["author", "owner"], "level": 0})

    world.evaluate(version, by=token)
    assert world.gate(version).json()["result"] == "failed"

    world.evaluate(version)
    assert world.gate(version).json()["result"] == "passed"


def test_the_gate_of_an_unbound_channel_is_not_configured(world, version):
    response = world.gate(version)
    assert (response.status_code, code(response)) == (409, "gate-not-configured")


def test_the_gate_can_evaluate_the_live_version(world):
    version = world.a_live_version()
    assert world.gate(version).json()["result"] == "passed"


# Voiding


def test_a_voided_evaluation_stays_readable_with_the_reason(world, version):
    recorded = world.evaluate(version).json()

    voided = world.void(recorded, reason="the harness was broken").json()

    assert (voided["voided"]["reason"], voided["voided"]["by"]) == (
        "the harness was broken",
        "approver-1",
    )
    assert evaluations(world) == [voided]


def test_a_voided_evaluation_no_longer_counts(world):
    version = world.an_evaluated_version()
    bad = world.evaluate(version, results=results(value=0.5)).json()
    assert world.gate(version).json()["result"] == "failed"

    world.void(bad)

    decision = world.gate(version).json()
    assert decision["result"] == "passed"
    assert bad["id"] not in {evaluation["id"] for evaluation in decision["evaluations"]}


def test_voiding_is_on_the_audit_log(world, version):
    recorded = world.evaluate(version).json()

    world.void(recorded, reason="the harness was broken")

    entry = world.audit()[-1]
    assert entry["action"] == "evaluation.void"
    assert entry["facts"] == {
        "evaluation_id": recorded["id"],
        "digest": recorded["digest"],
        "reason": "the harness was broken",
    }


def test_an_evaluation_can_be_voided_only_once(world, version):
    recorded = world.evaluate(version).json()
    world.void(recorded)

    response = world.void(recorded, by="approver-2")

    assert (response.status_code, code(response)) == (409, "already-void")
    assert "approver-1" in response.json()["detail"]


def test_an_evaluator_cannot_void_their_evaluation(world, version):
    _, token = world.a_principal(
        None, ("approver", world.namespace), ("evaluator", world.namespace)
    )
    recorded = world.evaluate(version, by=token).json()

    response = world.void(recorded, by=token)

    assert (response.status_code, code(response)) == (403, "separation-of-duties")


@pytest.mark.parametrize("role", ["publisher", "evaluator", "admin"])
def test_only_approvers_void_evaluations(world, version, role):
    response = world.void(world.evaluate(version).json(), by=role)
    assert (response.status_code, code(response)) == (403, "forbidden")


def test_an_evaluation_that_is_not_visible_cannot_be_voided(world, version):
    recorded = world.evaluate(version).json()
    response = world.void(recorded, by=world.a_stranger("approver"))
    assert (response.status_code, code(response)) == (404, "not-found")


def test_an_evaluation_that_does_not_exist_cannot_be_voided(world):
    response = world.void({"id": uuid.uuid4()})
    assert (response.status_code, code(response)) == (404, "not-found")
