"""Replay on a database that the tables' owner has rewritten: every change is reported."""

import hashlib
import io
import json
import uuid

import pytest
from sqlalchemy import create_engine, text

from tests.services.evidence.test_submissions_samples import record, rows
from tests.support.builders import a_digest


@pytest.fixture
def rewritten(postgres_server, world):
    """Rewrite rows as the owner, and restore them, since other tests replay all promotions.

    The statement sets `:value`: first to the new value `to`, at the end to the old one, `back`.
    """
    owner = create_engine(postgres_server.owner_url)
    undo = []

    def change(statement, values):
        table = statement.split()[1]
        with owner.begin() as connection:
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            done = connection.execute(text(statement), values)
            connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))
            assert done.rowcount > 0

    def rewritten(statement, *, to, back, **values):
        change(statement, values | {"value": to})
        undo.append((statement, values | {"value": back}))

    yield rewritten
    for statement, values in reversed(undo):
        change(statement, values)
    owner.dispose()


@pytest.fixture
def rewritten_decision(rewritten):
    """Rewrite the value at a path in the decision of a promotion."""

    def rewritten_decision(promotion, *path, to):
        old = promotion["decision"]
        for step in path:
            old = old[step]
        rewritten(
            "UPDATE promotion SET decision = "
            "jsonb_set(decision, CAST(:path AS text[]), CAST(:value AS jsonb)) WHERE id = :id",
            to=json.dumps(to),
            back=json.dumps(old),
            path=f"{{{','.join(map(str, path))}}}",
            id=promotion["id"],
        )

    return rewritten_decision


def test_a_changed_cell_is_reported(world, rewritten):
    promotion = world.a_promotion()
    evaluation = promotion["decision"]["evaluations"][0]["id"]
    rewritten(
        "UPDATE evaluation_cell SET mean = :value WHERE evaluation_id = :id",
        to=0.6,
        back=0.95,
        id=evaluation,
    )

    replayed = world.replayed(promotion)

    assert not replayed["agrees"]
    assert f"The evaluation {evaluation} no longer has the digest" in replayed["differences"][0]
    assert "result was passed; on replay it is failed." in replayed["differences"]


def test_a_changed_policy_is_reported(world, rewritten):
    promotion = world.a_promotion()
    rewritten(
        "UPDATE policy SET document = jsonb_set(document, '{rules,0,at_least}', "
        "CAST(:value AS jsonb)) WHERE digest = :digest",
        to="0.5",
        back="0.85",
        digest=promotion["decision"]["policy"]["digest"],
    )

    found = world.replayed(promotion)["differences"]

    assert found[0].startswith("The text of policy ")
    assert "findings[1].demanded was 0.85; on replay it is 0.5." in found


def test_a_changed_decision_is_reported(world, run, rewritten_decision):
    promotion = world.a_promotion()
    rewritten_decision(promotion, "result", to="failed")

    named = "result was failed; on replay it is passed."
    assert world.replayed(promotion)["differences"] == [named]
    status, output = run("replay", promotion["id"])
    assert (status, named in output) == (2, True)


# Missing inputs


def test_a_decision_is_not_recomputed_without_its_policy(world, run, rewritten_decision):
    promotion = world.a_promotion()
    rewritten_decision(promotion, "policy", "name", to="another")

    replayed = world.replayed(promotion)

    named = "The policy another version 1 is missing."
    assert (replayed["agrees"], replayed["recomputed"]) == (False, None)
    assert replayed["differences"] == [named]
    status, output = run("replay", promotion["id"])
    assert (status, named in output) == (2, True)


@pytest.mark.parametrize(
    "path", [("candidates", 0, "number"), ("incumbent", "number")], ids=["candidate", "incumbent"]
)
def test_a_decision_is_not_recomputed_without_one_of_its_versions(world, rewritten_decision, path):
    world.a_live_version()
    promotion = world.a_promotion(seed=1)
    rewritten_decision(promotion, *path, to=9)

    replayed = world.replayed(promotion)

    assert (replayed["agrees"], replayed["recomputed"]) == (False, None)
    assert replayed["differences"] == ["Version 9 is missing."]


@pytest.mark.parametrize(
    "where", [("candidates", 0), ("incumbent",)], ids=["candidate", "incumbent"]
)
def test_a_replaced_version_is_reported(world, rewritten_decision, where):
    world.a_live_version()
    promotion = world.a_promotion(seed=1)
    version = promotion["decision"]
    for step in where:
        version = version[step]
    rewritten_decision(promotion, *where, "digest", to=(other := a_digest()))

    found = world.replayed(promotion)["differences"]

    named = f"Version {version['number']} had digest {other}; now it has {version['digest']}."
    assert found[0] == named


def test_a_missing_evaluation_is_reported(world, rewritten_decision):
    promotion = world.a_promotion()
    lost = str(uuid.uuid4())
    rewritten_decision(promotion, "evaluations", 0, "id", to=lost)

    replayed = world.replayed(promotion)

    assert replayed["differences"][0] == f"The evaluation {lost} is missing."
    assert "result was passed; on replay it is failed." in replayed["differences"]


# Samples, which the command rechecks


@pytest.fixture
def sampled(world):
    """An evaluation by samples, and a promotion that passed the gate with it."""
    version = world.a_version()
    world.a_channel()
    evaluation = record(world, version, rows(failing=6)).json()
    return evaluation, world.request(version).json()


def test_samples_that_contradict_the_cells_are_reported(run, rewritten, sampled):
    evaluation, promotion = sampled
    rewritten(
        "UPDATE evaluation_scores SET values_packed = set_byte(values_packed, 7, :value) "
        "WHERE evaluation_id = :id AND persona = 'expert' AND locale = 'de'",
        to=63,
        back=0,
        id=evaluation["id"],
    )

    status, output = run("replay", promotion["id"])

    named = f"The evaluation {evaluation['id']} has samples that contradict its cell tone for"
    assert status == 2
    assert f"{named} expert/de." in output
    # The decision itself is made of the scores, so it differs too.
    status, output = run("replay", promotion["id"], "--no-samples")
    assert (status, named in output) == (2, False)


def test_missing_samples_are_reported(run, rewritten, sampled):
    evaluation, promotion = sampled
    rewritten(
        "UPDATE evaluation_file SET name = :value WHERE evaluation_id = :id",
        to="notes.txt",
        back="samples.jsonl",
        id=evaluation["id"],
    )

    status, output = run("replay", promotion["id"])

    assert status == 2
    assert f"The evaluation {evaluation['id']} is missing its samples." in output


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"not a sample of this evaluation\n", id="no-samples"),
        pytest.param(b"\x1f\x8b and no more", id="broken-gzip"),
    ],
)
def test_replaced_samples_are_reported(run, rewritten, sampled, blobs, content):
    evaluation, promotion = sampled
    (file,) = evaluation["files"]
    padded = content.ljust(file["size_bytes"], b"\n")
    sha256 = f"sha256:{hashlib.sha256(padded).hexdigest()}"
    blobs.put(io.BytesIO(padded), digest=sha256, size_bytes=len(padded))
    rewritten(
        "UPDATE evaluation_file SET sha256 = :value WHERE evaluation_id = :id",
        to=sha256,
        back=file["sha256"],
        id=evaluation["id"],
    )

    status, output = run("replay", promotion["id"])

    assert status == 2
    assert f"The evaluation {evaluation['id']} has samples that can no longer be read." in output
