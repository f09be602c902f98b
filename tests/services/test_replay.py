"""Replay: a decision made again from what is stored, and the decision as an attestation."""

import pytest
from sqlalchemy import create_engine, text

from tests.builders import results
from tests.services.test_samples import record, rows


def change(owner, statement, **values):
    """Do what only the owner of the tables can: switch a table's triggers off and rewrite it."""
    table = statement.split()[1]
    with owner.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        done = connection.execute(text(statement), values)
        connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))
        assert done.rowcount > 0


def test_a_decision_comes_out_the_same(world):
    promotion = world.a_promotion()

    replayed = world.replayed(promotion)

    assert (replayed["agrees"], replayed["differences"]) == (True, [])
    assert replayed["recomputed"] == replayed["stored"] == promotion["decision"]


def test_it_still_does_after_everything_has_moved_on(world):
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


def test_whoever_may_not_see_the_promotion_finds_none(world):
    promotion = world.a_promotion()
    for what in ("replay", "attestation"):
        path = f"/v1/promotions/{promotion['id']}/{what}"
        for by in ("reader", world.a_stranger()):
            assert world.call("GET", path, by=by).status_code == 404


def test_the_command_says_that_it_comes_out_the_same(world, run):
    promotion = world.a_promotion()
    status, told = run("replay", promotion["id"])
    assert status == 0
    assert "Made again it comes out the same, 5 findings on 1 evaluations." in told


def test_the_command_fails_on_a_decision_that_does_not_come_out_the_same(world, run, rewritten):
    promotion = world.a_promotion()
    change_to = "UPDATE promotion SET decision = jsonb_set(decision, '{result}', :to)"
    rewritten(
        change_to.replace(":to", "'\"failed\"'") + " WHERE id = :id",
        change_to.replace(":to", "'\"passed\"'") + " WHERE id = :id",
        id=promotion["id"],
    )

    status, told = run("replay", promotion["id"])

    assert status == 2
    assert "result was failed; made again it is passed." in told


def test_the_samples_bear_out_what_was_decided_by_them(world, run):
    version = world.a_version()
    world.a_channel()
    assert record(world, version, rows(failing=6), packed=True).status_code == 201
    promotion = world.request(version).json()

    assert run("replay", promotion["id"])[0] == 0


def test_samples_that_differ_from_the_cells_are_named(world, run, rewritten):
    version = world.a_version()
    world.a_channel()
    evaluation = record(world, version, rows(failing=6)).json()
    promotion = world.request(version).json()
    change_to = "UPDATE evaluation_scores SET values_packed = set_byte(values_packed, 7, :to) "
    where = "WHERE evaluation_id = :id AND persona = 'expert' AND locale = 'de'"
    rewritten(
        change_to.replace(":to", "63") + where,
        change_to.replace(":to", "0") + where,
        id=evaluation["id"],
    )

    status, told = run("replay", promotion["id"])

    name = f"The evaluation {evaluation['id']}"
    assert status == 2
    assert f"{name} has other samples of tone for expert/de than its cell says." in told
    assert run("replay", promotion["id"], "--no-samples")[0] == 0


def test_samples_that_are_damaged_are_named(world, run, tamper):
    version = world.a_version()
    world.a_channel()
    evaluation = record(world, version, rows(failing=5)).json()
    promotion = world.request(version).json()
    (kept,) = evaluation["files"]
    tamper(kept["sha256"], b"{}")

    status, told = run("replay", promotion["id"])

    assert status == 2
    assert "do not hash to it" in told


# What a rewritten database cannot hide


@pytest.fixture
def rewritten(postgres_server, world):
    """Rewrite rows as the owner, and put them back, since every replay must agree in the end."""
    owner = create_engine(postgres_server.owner_url)
    undo = []

    def rewritten(statement, undoing, **values):
        change(owner, statement, **values)
        undo.append((undoing, values))

    yield rewritten
    for statement, values in reversed(undo):
        change(owner, statement, **values)
    owner.dispose()


def test_a_changed_cell_is_named(world, rewritten):
    promotion = world.a_promotion()
    evaluation = promotion["decision"]["evaluations"][0]["id"]
    rewritten(
        "UPDATE evaluation_cell SET mean = 0.6 WHERE evaluation_id = :id",
        "UPDATE evaluation_cell SET mean = 0.95 WHERE evaluation_id = :id",
        id=evaluation,
    )

    replayed = world.replayed(promotion)

    assert not replayed["agrees"]
    assert f"The evaluation {evaluation} does not hash" in replayed["differences"][0]
    assert "result was passed; made again it is failed." in replayed["differences"]


def test_a_changed_policy_is_named(world, rewritten):
    promotion = world.a_promotion()
    easier = "UPDATE policy SET document = jsonb_set(document, '{rules,0,at_least}', :to) "
    where = "WHERE digest = :digest"
    digest = promotion["decision"]["policy"]["digest"]
    rewritten(
        easier.replace(":to", "'0.5'") + where,
        easier.replace(":to", "'0.85'") + where,
        digest=digest,
    )

    found = world.replayed(promotion)["differences"]

    assert found[0].startswith("The text of policy ")
    assert "findings[1].demanded was 0.85; made again it is 0.5." in found


def test_a_changed_decision_is_named(world, rewritten):
    promotion = world.a_promotion()
    change_to = "UPDATE promotion SET decision = jsonb_set(decision, '{result}', :to)"
    rewritten(
        change_to.replace(":to", "'\"failed\"'") + " WHERE id = :id",
        change_to.replace(":to", "'\"passed\"'") + " WHERE id = :id",
        id=promotion["id"],
    )

    assert world.replayed(promotion)["differences"] == [
        "result was failed; made again it is passed."
    ]


# The attestation


def attested(world, promotion):
    path = f"/v1/promotions/{promotion['id']}/attestation"
    response = world.call("GET", path, by="publisher")
    assert response.headers["content-type"] == "application/vnd.in-toto+json"
    return response.json()


def test_the_decision_is_attested_in_the_form_of_a_verification_summary(world):
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


def test_a_gate_that_was_shut_is_attested_as_failed(world):
    version = world.an_evaluated_version()
    promotion = world.request(version).json()
    world.evaluate(version, results=results(value=0.1))

    predicate = attested(world, promotion)["predicate"]

    assert (predicate["verificationResult"], predicate["verifiedLevels"]) == ("FAILED", ["FAILED"])
