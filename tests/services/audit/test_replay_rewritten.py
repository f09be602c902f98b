"""Replay on a database that the owner of its tables has rewritten: no change stays hidden."""

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
    """Rewrite rows as the owner, and put them back, since every replay must agree in the end.

    The statement sets `:value`, first `to` what is to be found, then `back` to what it was.
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
def decided_otherwise(rewritten):
    """Rewrite what is at a path in the decision of a promotion."""

    def decided_otherwise(promotion, *path, to):
        was = promotion["decision"]
        for step in path:
            was = was[step]
        rewritten(
            "UPDATE promotion SET decision = "
            "jsonb_set(decision, CAST(:path AS text[]), CAST(:value AS jsonb)) WHERE id = :id",
            to=json.dumps(to),
            back=json.dumps(was),
            path=f"{{{','.join(map(str, path))}}}",
            id=promotion["id"],
        )

    return decided_otherwise


def test_a_changed_cell_is_named(world, rewritten):
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
    assert f"The evaluation {evaluation} does not hash" in replayed["differences"][0]
    assert "result was passed; on replay it is failed." in replayed["differences"]


def test_a_changed_policy_is_named(world, rewritten):
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


def test_a_changed_decision_is_named(world, run, decided_otherwise):
    promotion = world.a_promotion()
    decided_otherwise(promotion, "result", to="failed")

    named = "result was failed; on replay it is passed."
    assert world.replayed(promotion)["differences"] == [named]
    status, told = run("replay", promotion["id"])
    assert (status, named in told) == (2, True)


# What is gone


def test_without_its_policy_nothing_is_decided_again(world, run, decided_otherwise):
    promotion = world.a_promotion()
    decided_otherwise(promotion, "policy", "name", to="another")

    replayed = world.replayed(promotion)

    named = "The policy another version 1 is gone."
    assert (replayed["agrees"], replayed["recomputed"]) == (False, None)
    assert replayed["differences"] == [named]
    status, told = run("replay", promotion["id"])
    assert (status, named in told) == (2, True)


@pytest.mark.parametrize(
    "path", [("candidates", 0, "number"), ("incumbent", "number")], ids=["candidate", "incumbent"]
)
def test_without_one_of_its_versions_nothing_is_decided_again(world, decided_otherwise, path):
    world.a_live_version()
    promotion = world.a_promotion(seed=1)
    decided_otherwise(promotion, *path, to=9)

    replayed = world.replayed(promotion)

    assert (replayed["agrees"], replayed["recomputed"]) == (False, None)
    assert replayed["differences"] == ["Version 9 is gone."]


@pytest.mark.parametrize(
    "where", [("candidates", 0), ("incumbent",)], ids=["candidate", "incumbent"]
)
def test_a_version_that_is_another_one_is_named(world, decided_otherwise, where):
    world.a_live_version()
    promotion = world.a_promotion(seed=1)
    version = promotion["decision"]
    for step in where:
        version = version[step]
    decided_otherwise(promotion, *where, "digest", to=(other := a_digest()))

    found = world.replayed(promotion)["differences"]

    assert found[0] == f"Version {version['number']} was {other}; now it is {version['digest']}."


def test_an_evaluation_that_is_gone_is_named(world, decided_otherwise):
    promotion = world.a_promotion()
    lost = str(uuid.uuid4())
    decided_otherwise(promotion, "evaluations", 0, "id", to=lost)

    replayed = world.replayed(promotion)

    assert replayed["differences"][0] == f"The evaluation {lost} is gone."
    assert "result was passed; on replay it is failed." in replayed["differences"]


# Samples, which the command reads again


@pytest.fixture
def sampled(world):
    """An evaluation by samples, and the promotion that it opened the gate for."""
    version = world.a_version()
    world.a_channel()
    evaluation = record(world, version, rows(failing=6)).json()
    return evaluation, world.request(version).json()


def test_samples_that_differ_from_the_cells_are_named(run, rewritten, sampled):
    evaluation, promotion = sampled
    rewritten(
        "UPDATE evaluation_scores SET values_packed = set_byte(values_packed, 7, :value) "
        "WHERE evaluation_id = :id AND persona = 'expert' AND locale = 'de'",
        to=63,
        back=0,
        id=evaluation["id"],
    )

    status, told = run("replay", promotion["id"])

    named = f"The evaluation {evaluation['id']} has other samples of tone for expert/de"
    assert status == 2
    assert f"{named} than its cell says." in told
    assert run("replay", promotion["id"], "--no-samples")[0] == 0


def test_samples_that_are_lost_are_named(run, rewritten, sampled):
    evaluation, promotion = sampled
    rewritten(
        "UPDATE evaluation_file SET name = :value WHERE evaluation_id = :id",
        to="notes.txt",
        back="samples.jsonl",
        id=evaluation["id"],
    )

    status, told = run("replay", promotion["id"])

    assert status == 2
    assert f"The evaluation {evaluation['id']} has lost its samples." in told


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"not a sample of this evaluation\n", id="no-samples"),
        pytest.param(b"\x1f\x8b and no more", id="broken-gzip"),
    ],
)
def test_other_bytes_in_the_place_of_samples_are_named(run, rewritten, sampled, blobs, content):
    evaluation, promotion = sampled
    (kept,) = evaluation["files"]
    padded = content.ljust(kept["size_bytes"], b"\n")
    sha256 = f"sha256:{hashlib.sha256(padded).hexdigest()}"
    blobs.put(io.BytesIO(padded), digest=sha256, size_bytes=len(padded))
    rewritten(
        "UPDATE evaluation_file SET sha256 = :value WHERE evaluation_id = :id",
        to=sha256,
        back=kept["sha256"],
        id=evaluation["id"],
    )

    status, told = run("replay", promotion["id"])

    assert status == 2
    assert f"The evaluation {evaluation['id']} has samples that cannot be read any more." in told
