"""Checkpoints over HTTP: signatures, repetition without changes, and proofs."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from sqlalchemy import text

from app.domain.audit.checkpoints import Leaf
from app.storage.signing import KeySigner
from tests.support.merkle_proofs import proves_consistency, proves_inclusion


def get(world, path, *, by="auditor", **query):
    return world.call("GET", f"/v1/audit/{path}", by=by, params=query)


def code(response):
    return response.status_code, response.json()["type"].removeprefix("/problems/")


def raw(digest):
    return bytes.fromhex(digest.removeprefix("sha256:"))


def path_of(proof):
    return [raw(node) for node in proof["path"]]


def test_a_checkpoint_is_a_note_signed_with_the_published_key(world):
    taken = world.checkpoint()

    note = get(world, "checkpoint").text
    assert note == taken["note"]
    body, _, signature = note.rpartition("\n\n")
    origin, size, root = body.split("\n")
    assert (origin, int(size)) == ("registry.test/audit", taken["size"])
    assert base64.b64decode(root) == raw(taken["root"])
    name, key_id, key = get(world, "checkpoint/key").text.strip().split("+", 2)
    dash, signed_by, encoded = signature.split()
    signed = base64.b64decode(encoded)
    assert (dash, signed_by, signed[:4].hex()) == ("—", name, key_id)
    public_key = Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:])
    public_key.verify(signed[4:], f"{body}\n".encode())


def test_an_unchanged_log_has_the_same_checkpoint(world):
    first = world.checkpoint()

    again = world.call("POST", "/v1/audit/checkpoints", by="admin")

    assert (again.status_code, again.json()) == (200, first)
    assert again.headers["location"] == f"/v1/audit/checkpoint?size={first['size']}"


def test_a_checkpoint_adds_one_leaf_for_each_chain_that_grew(world):
    before = world.checkpoint()
    world.a_prefix()
    world.a_prefix(name="another")
    world.push(seed=1)

    after = world.call("POST", "/v1/audit/checkpoints", by="admin")

    assert (after.status_code, after.json()["size"]) == (201, before["size"] + 2)
    listed = get(world, "checkpoints", limit=2).json()["items"]
    assert listed == [after.json(), before]
    assert get(world, "checkpoint", size=before["size"]).text == before["note"]


def test_a_checkpoint_is_proved_to_include_the_head_of_a_chain(world):
    world.a_version()
    older = world.checkpoint()
    world.a_version(seed=1)
    newer = world.checkpoint()
    entries, subject = world.audit(), f"prefix:{world.prefix}"

    for taken, length in ((older, 2), (newer, 3)):
        proof = get(world, "proofs/inclusion", subject=subject, size=taken["size"]).json()
        head = entries[length - 1]["hash"]
        assert proof["leaf"] == {"subject": subject, "length": length, "head": head}
        assert proves_inclusion(
            Leaf(subject, length, head).hashed(),
            index=proof["index"],
            size=taken["size"],
            path=path_of(proof),
            root=raw(taken["root"]),
        )
    assert get(world, "proofs/inclusion", subject=subject).json() == proof


def test_each_checkpoint_is_proved_to_extend_every_earlier_one(world):
    taken = []
    for number in range(4):
        world.a_prefix(name=f"voice-{number}")
        taken.append(world.checkpoint())

    for second in taken:
        for first in taken[: taken.index(second) + 1]:
            query = {"first": first["size"], "second": second["size"]}
            proof = get(world, "proofs/consistency", **query).json()
            assert {name: proof[name] for name in query} == query
            assert proves_consistency(
                **query,
                first_root=raw(first["root"]),
                second_root=raw(second["root"]),
                path=path_of(proof),
            )
    latest = get(world, "proofs/consistency", first=taken[0]["size"]).json()
    assert latest["second_root"] == taken[-1]["root"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        pytest.param("checkpoint", {"size": 2**31 - 1}, id="checkpoint"),
        pytest.param("proofs/inclusion", {"subject": "prefix:no/body"}, id="chain"),
        pytest.param(
            "proofs/inclusion", {"subject": "registry", "size": 2**31 - 1}, id="inclusion"
        ),
        pytest.param("proofs/consistency", {"first": 2**31 - 1}, id="consistency"),
    ],
)
def test_there_is_no_proof_without_a_checkpoint(world, path, query):
    world.checkpoint()
    assert code(get(world, path, **query)) == (404, "not-found")


def test_an_older_checkpoint_does_not_include_a_newer_chain(world):
    older = world.checkpoint()
    world.a_prefix()
    world.checkpoint()
    query = {"subject": f"prefix:{world.prefix}", "size": older["size"]}
    assert code(get(world, "proofs/inclusion", **query)) == (404, "not-found")


def test_an_earlier_checkpoint_does_not_extend_a_later_one(world):
    older = world.checkpoint()["size"]
    world.a_prefix()
    newer = world.checkpoint()["size"]
    response = get(world, "proofs/consistency", first=newer, second=older)
    assert code(response) == (422, "invalid-request")


def test_before_the_first_checkpoint_there_is_none(administered):
    world, connection = administered
    for table in ("audit_checkpoint", "audit_node", "audit_leaf"):
        connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        connection.execute(text(f"TRUNCATE {table}"))
    assert code(get(world, "checkpoint")) == (404, "not-found")
    assert get(world, "checkpoints").json()["items"] == []

    taken = world.checkpoint()

    leaves = [line for line in get(world, "export").text.splitlines() if '"index"' in line]
    assert len(leaves) == taken["size"] > 0


@pytest.mark.parametrize("origin", ["registry.test/audit", "another.test/audit"])
def test_a_new_key_or_origin_signs_a_new_checkpoint_and_is_logged_in_it(world, world_on, origin):
    before = world.checkpoint()
    another = world_on(signer=KeySigner(origin, Ed25519PrivateKey.generate()))

    taken = another.checkpoint()

    key = get(another, "checkpoint/key").text.strip()
    entry = world.last_entry("registry")
    assert (entry["action"], entry["facts"]) == ("signer.change", {"verifier_key": key})
    assert taken["size"] == before["size"] + 1
    assert taken["note"].splitlines()[-1].startswith(f"— {origin} ")
    assert taken["note"].startswith(f"{origin}\n")
    assert another.checkpoint() == taken


def test_without_a_key_only_existing_checkpoints_are_returned(world, world_on):
    taken = world.checkpoint()
    keyless = world_on(signer=None)
    response = keyless.call("POST", "/v1/audit/checkpoints", by="admin")
    assert code(response) == (409, "checkpoints-not-configured")
    assert "REGISTRY_CHECKPOINT_KEY_FILE" in response.json()["detail"]
    assert code(get(keyless, "checkpoint/key")) == (409, "checkpoints-not-configured")
    assert get(keyless, "checkpoint").text == taken["note"]


@pytest.mark.parametrize(
    "path",
    [
        "checkpoint",
        "checkpoint/key",
        "checkpoints",
        "proofs/inclusion?subject=registry",
        "proofs/consistency?first=1",
    ],
)
@pytest.mark.parametrize("by", ["admin", "publisher", "reader"])
def test_only_auditors_read_checkpoints(world, path, by):
    assert code(world.call("GET", f"/v1/audit/{path}", by=by)) == (403, "forbidden")


@pytest.mark.parametrize("by", ["auditor", "approver-1", "publisher"])
def test_only_admins_take_checkpoints(world, by):
    assert code(world.call("POST", "/v1/audit/checkpoints", by=by)) == (403, "forbidden")


def test_an_admin_of_a_namespace_takes_no_checkpoints(world):
    _, token = world.a_principal(None, ("admin", world.namespace))
    assert code(world.call("POST", "/v1/audit/checkpoints", by=token)) == (403, "forbidden")


# Contradictions that the registry refuses to sign


@pytest.mark.parametrize(
    ("table", "statement", "detail"),
    [
        pytest.param(
            "audit_entry",
            "UPDATE audit_entry SET hash = :digest WHERE sequence = 1 AND subject = :subject",
            "The chain of {subject}",
            id="entry-rewritten",
        ),
        pytest.param(
            "audit_entry",
            "DELETE FROM audit_entry WHERE sequence = 2 AND subject = :subject",
            "The chain of {subject}",
            id="end-removed",
        ),
        pytest.param(
            "audit_node",
            "UPDATE audit_node SET hash = sha256('another')",
            "The root of the tree's first",
            id="tree-rewritten",
        ),
        pytest.param(
            "audit_node",
            "DELETE FROM audit_node",
            "The root of the tree's first",
            id="tree-removed",
        ),
    ],
)
def test_a_log_that_contradicts_an_earlier_checkpoint_is_not_signed(
    administered, caplog, table, statement, detail
):
    world, connection = administered
    world.a_prefix()
    world.checkpoint()
    world.a_base()
    world.push()
    values = {"subject": f"prefix:{world.prefix}", "digest": f"sha256:{'1' * 64}"}
    named = {name: values[name] for name in values if f":{name}" in statement}
    connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    connection.execute(text(statement), named)

    response = world.call("POST", "/v1/audit/checkpoints", by="admin")

    assert code(response) == (500, "audit-log-broken")
    assert response.json()["detail"].startswith(detail.format(**values))
    assert "audit-log-broken" in caplog.text
