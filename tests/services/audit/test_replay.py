"""Replay: recomputing a decision from stored inputs; and the decision as an attestation."""

from tests.services.evidence.test_submissions_samples import record, rows
from tests.support.builders import results


def test_a_replayed_decision_agrees(world):
    promotion = world.a_promotion()

    replayed = world.replayed(promotion)

    assert (replayed["agrees"], replayed["differences"]) == (True, [])
    assert replayed["recomputed"] == replayed["stored"] == promotion["decision"]


def test_a_replayed_decision_agrees_after_later_changes(world):
    version = world.an_evaluated_version()
    extra = world.evaluate(version).json()
    promotion = world.request(version).json()
    world.approve(promotion)
    world.void(extra)
    world.a_channel(approvals={"required": 1})
    world.evaluate(version, results=results(value=0.3))
    successor = world.an_evaluated_version(seed=2)
    world.review(world.request(successor).json(), by="approver-1")

    assert world.replayed(promotion)["agrees"]


def test_an_invisible_promotion_cannot_be_replayed(world):
    promotion = world.a_promotion()
    for document in ("replay", "attestation"):
        path = f"/v1/promotions/{promotion['id']}/{document}"
        for by in ("reader", world.a_stranger()):
            assert world.call("GET", path, by=by).status_code == 404


def test_the_command_reports_that_the_decision_agrees(world, run):
    promotion = world.a_promotion()
    status, output = run("replay", promotion["id"])
    assert status == 0
    assert "The replayed decision is the same: 5 findings on 1 evaluations." in output


def test_the_stored_samples_support_the_decision(world, run):
    version = world.a_version()
    world.a_channel()
    assert record(world, version, rows(failing=6), packed=True).status_code == 201
    promotion = world.request(version).json()

    assert run("replay", promotion["id"])[0] == 0


def test_damaged_samples_are_reported(world, run, tamper):
    version = world.a_version()
    world.a_channel()
    evaluation = record(world, version, rows(failing=5)).json()
    promotion = world.request(version).json()
    (file,) = evaluation["files"]
    tamper(file["sha256"], b"{}")

    status, output = run("replay", promotion["id"])

    assert status == 2
    assert "do not hash to it" in output


# The attestation


def attested(world, promotion):
    path = f"/v1/promotions/{promotion['id']}/attestation"
    response = world.call("GET", path, by="publisher")
    assert response.headers["content-type"] == "application/vnd.in-toto+json"
    return response.json()


def test_a_decision_is_attested_as_a_verification_summary(world):
    promotion = world.a_promotion()
    decision = promotion["decision"]

    statement = attested(world, promotion)

    digest = decision["candidates"][0]["digest"].removeprefix("sha256:")
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/verification_summary/v1"
    assert statement["subject"] == [{"name": f"{world.prefix}@v1", "digest": {"sha256": digest}}]
    predicate = statement["predicate"]
    assert predicate["verificationResult"] == "PASSED"
    assert predicate["verifiedLevels"] == ["PREFIX_REGISTRY_GATE"]
    assert predicate["urn:prefix-registry:findings"] == decision["findings"]


def test_all_evaluations_are_input_attestations_by_digest(world):
    version = world.an_evaluated_version()
    world.evaluate(version)
    promotion = world.request(version).json()

    inputs = attested(world, promotion)["predicate"]["inputAttestations"]

    known = world.made("GET", f"{world.path}/versions/1/evaluations", by="publisher")["items"]
    assert {each["digest"]["sha256"] for each in inputs} == {
        each["digest"].removeprefix("sha256:") for each in known
    }
    assert len(inputs) == 2


def test_a_failed_gate_is_attested_as_failed(world):
    version = world.an_evaluated_version()
    promotion = world.request(version).json()
    world.evaluate(version, results=results(value=0.1))

    predicate = attested(world, promotion)["predicate"]

    assert (predicate["verificationResult"], predicate["verifiedLevels"]) == ("FAILED", ["FAILED"])
