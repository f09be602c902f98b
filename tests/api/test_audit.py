"""The audit log over HTTP: reading, verifying, exporting, and detecting tampering."""

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


def test_an_entry_names_its_principal(world):
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


def test_a_subject_without_entries_has_a_valid_empty_chain(world):
    found = world.verification()
    assert (found["entries"], found["head"], found["valid"]) == (0, GENESIS, True)
    assert world.audit() == []
    assert export(world) == []


def test_an_export_can_be_verified_with_sha256_alone(world):
    world.a_live_version()

    previous = GENESIS
    for number, entry in enumerate(export(world), start=1):
        digest = entry.pop("hash")
        assert (entry["sequence"], entry["previous"]) == (number, previous)
        assert digest == f"sha256:{hashlib.sha256(rfc8785.dumps(entry)).hexdigest()}"
        previous = digest
    assert previous == world.verification()["head"]


def test_an_export_has_the_same_entries_as_the_list(world):
    world.a_version()
    exported = [entry | {"at": entry["at"][:19]} for entry in export(world)]
    listed = [entry | {"at": entry["at"][:19]} for entry in world.audit()]
    assert exported == listed


@pytest.mark.parametrize(
    "subject", ["", "acme/brand-voice", "prefix:acme", "prefix:a/b/c", "channel:a/b", "registry2"]
)
def test_an_invalid_subject_is_refused(world, subject):
    response = world.call("GET", "/v1/audit", by="auditor", params={"subject": subject})
    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")


# Entries of all subjects


def entries(world, **query):
    """Return all entries that a query finds, read in small pages."""
    found, cursor = [], {}
    while cursor is not None:
        params = query | cursor | {"limit": 3}
        page = world.made("GET", "/v1/audit", by="auditor", params=params)
        found += page["items"]
        cursor = None if page["next"] is None else {"cursor": page["next"]}
    return found


@pytest.fixture
def busy(world):
    """A world with entries on two chains; the last is a push by another principal."""
    world.a_version()
    world.a_prefix(name="another")
    world.pusher, token = world.a_principal(None, ("publisher", world.namespace))
    assert world.push(seed=1, by=token).status_code == 201
    return world


def test_entries_of_a_principal_are_found_on_all_subjects(busy):
    [entry] = entries(busy, principal=busy.pusher)
    assert (entry["action"], entry["facts"]["version"]) == ("version.push", 2)
    assert entries(busy, principal="nobody-at-all") == []


def test_entries_are_found_by_action_on_one_subject_or_on_all(busy):
    subject = f"prefix:{busy.prefix}"
    pushes = entries(busy, action="version.push", subject=subject)
    assert [entry["sequence"] for entry in pushes] == [2, 3]
    assert entries(busy, action="version.push", subject=subject, principal="publisher") == [
        pushes[0]
    ]
    everywhere = entries(busy, action="prefix.create", since=busy.audit()[0]["at"])
    assert [entry["subject"] for entry in everywhere] == [subject, f"{subject[:-5]}another"]


def test_entries_are_found_by_time_excluding_the_end(busy):
    first, second, last = busy.audit()
    subject = f"prefix:{busy.prefix}"
    assert entries(busy, subject=subject, since=second["at"]) == [second, last]
    assert entries(busy, subject=subject, until=second["at"]) == [first]
    assert entries(busy, subject=subject, since=first["at"], until=last["at"]) == [first, second]


def test_entries_of_all_subjects_are_listed_by_time(busy):
    found = entries(busy, since=busy.audit()[0]["at"])
    assert {entry["subject"] for entry in found} > {f"prefix:{busy.prefix}", "registry"}
    assert [entry["at"] for entry in found] == sorted(entry["at"] for entry in found)
    ids = [(entry["subject"], entry["sequence"]) for entry in found]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "query",
    [
        {"action": "push"},
        {"action": "version.push'"},
        {"principal": "a\x00b"},
        {"since": "yesterday"},
        {"until": "2026-01-01T00:00:00"},
    ],
)
def test_an_invalid_filter_is_refused(world, query):
    response = world.call("GET", "/v1/audit", by="auditor", params=query)
    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")


def test_an_export_of_all_chains_has_them_complete_and_in_sequence(busy):
    busy.checkpoint()
    response = busy.call("GET", "/v1/audit/export", by="auditor")
    lines = [json.loads(line) for line in response.text.splitlines()]
    leaves = [line for line in lines if "index" in line]
    exported = [line for line in lines if "hash" in line]
    assert lines == leaves + exported
    assert [leaf["index"] for leaf in leaves] == list(range(len(leaves)))
    places = [(entry["subject"], entry["sequence"]) for entry in exported]
    assert places == sorted(places)
    assert [e for e in exported if e["subject"] == f"prefix:{busy.prefix}"] == export(busy)
    heads = {(entry["subject"], entry["sequence"]): entry["hash"] for entry in exported}
    assert all(heads[leaf["subject"], leaf["length"]] == leaf["head"] for leaf in leaves)


def test_an_export_continues_after_each_batch(busy, monkeypatch):
    busy.checkpoint()
    complete = busy.call("GET", "/v1/audit/export", by="auditor").text
    chain = busy.call("GET", f"/v1/audit/export?subject=prefix:{busy.prefix}", by="auditor").text
    monkeypatch.setattr("app.api.audit._BATCH", 2)
    assert busy.call("GET", "/v1/audit/export", by="auditor").text == complete
    path = f"/v1/audit/export?subject=prefix:{busy.prefix}"
    assert busy.call("GET", path, by="auditor").text == chain


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
