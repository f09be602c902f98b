"""The audit log over HTTP: read, verified, exported, and caught when it was tampered with."""

import hashlib
import json

import pytest
import rfc8785
from sqlalchemy import text

GENESIS = f"sha256:{'0' * 64}"


def export(world, subject=None):
    query = {"subject": subject or f"prefix:{world.prefix}"}
    response = world.call("GET", "/v1/audit/export", by="auditor", params=query)
    assert response.headers["content-type"] == "application/jsonl"
    return [json.loads(line) for line in response.text.splitlines()]


def test_entries_are_listed_in_the_order_they_were_made(world):
    world.a_version()

    entries = world.audit()

    assert [entry["sequence"] for entry in entries] == [1, 2]
    assert [entry["action"] for entry in entries] == ["prefix.create", "version.push"]
    assert [entry["previous"] for entry in entries] == [GENESIS, entries[0]["hash"]]


def test_an_entry_names_who_did_it(world):
    world.a_version()
    entry = world.audit()[-1]
    assert entry["principal"] == "publisher"
    assert entry["subject"] == f"prefix:{world.prefix}"


def test_an_untouched_chain_verifies(world):
    world.a_live_version()
    head = world.audit()[-1]["hash"]
    assert world.verification() == {
        "subject": f"prefix:{world.prefix}",
        "entries": 8,
        "head": head,
        "valid": True,
        "first_break": None,
    }


def test_a_subject_without_entries_is_an_intact_empty_chain(world):
    found = world.verification()
    assert (found["entries"], found["head"], found["valid"]) == (0, GENESIS, True)
    assert world.audit() == []
    assert export(world) == []


def test_an_export_verifies_with_nothing_but_sha256(world):
    world.a_live_version()

    previous = GENESIS
    for number, entry in enumerate(export(world), start=1):
        digest = entry.pop("hash")
        assert (entry["sequence"], entry["previous"]) == (number, previous)
        assert digest == f"sha256:{hashlib.sha256(rfc8785.dumps(entry)).hexdigest()}"
        previous = digest
    assert previous == world.verification()["head"]


def test_an_export_has_what_the_list_has(world):
    world.a_version()
    exported = [entry | {"at": entry["at"][:19]} for entry in export(world)]
    listed = [entry | {"at": entry["at"][:19]} for entry in world.audit()]
    assert exported == listed


@pytest.mark.parametrize(
    "subject", ["", "acme/brand-voice", "prefix:acme", "prefix:a/b/c", "channel:a/b", "registry2"]
)
def test_what_is_no_subject_is_refused(world, subject):
    response = world.call("GET", "/v1/audit", by="auditor", params={"subject": subject})
    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")


# Tampering, which only the owner of the tables can do


@pytest.mark.parametrize(
    ("statement", "values", "first_break"),
    [
        pytest.param(
            "UPDATE audit_entry SET principal = 'mallory' WHERE sequence = 2",
            {},
            2,
            id="another-name",
        ),
        pytest.param(
            "UPDATE audit_entry SET facts = jsonb_set(facts, '{owner}', '\"mallory\"') "
            "WHERE sequence = 1",
            {},
            1,
            id="another-fact",
        ),
        pytest.param(
            "UPDATE audit_entry SET at = at + interval '1 second' WHERE sequence = 3",
            {},
            3,
            id="another-time",
        ),
        pytest.param(
            "UPDATE audit_entry SET hash = :hash WHERE sequence = 2",
            {"hash": f"sha256:{'1' * 64}"},
            2,
            id="another-hash",
        ),
        pytest.param("DELETE FROM audit_entry WHERE sequence = 2", {}, 2, id="one-removed"),
        pytest.param("DELETE FROM audit_entry WHERE sequence >= 6", {}, 6, id="the-end-removed"),
        pytest.param("DELETE FROM audit_entry WHERE sequence >= 1", {}, 1, id="all-removed"),
    ],
)
def test_tampering_shows_where_it_begins(administered, statement, values, first_break):
    world, connection = administered
    world.a_live_version()

    subject = f"prefix:{world.prefix}"
    connection.execute(text("ALTER TABLE audit_entry DISABLE TRIGGER USER"))
    connection.execute(text(f"{statement} AND subject = :subject"), values | {"subject": subject})

    found = world.verification()
    assert (found["valid"], found["first_break"]) == (False, first_break)
