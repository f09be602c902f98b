"""The stand-alone verifier: it accepts exports of the registry and names every tampering."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from app.db.session import engine_for, sessions_on
from app.main import app_of
from tests.domain.audit import test_checkpoints as published_note
from tests.domain.audit import test_merkle as published_tree
from tests.domain.audit.test_chain import FACTS
from tests.support.builders import World
from tests.support.servers import copied
from tests.support.session.in_process import InProcessClient

FILE = Path(__file__).parents[2] / "tools" / "verify_audit.py"
_SPEC = importlib.util.spec_from_file_location("verify_audit", FILE)
verify_audit = importlib.util.module_from_spec(_SPEC)
sys.modules["verify_audit"] = verify_audit
_SPEC.loader.exec_module(verify_audit)

# RFC 8032, section 7.1: public key, message, signature.
ED25519 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
            "f9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
            "f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f76098"
            "4dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


class Log:
    """The audit log of a separate registry, and an auditor's folder of its exports and notes."""

    def __init__(self, world, owner, folder):
        self.world = world
        self.owner = owner
        self.folder = folder

    def keep(self, name, path, **query):
        """Save a response of the registry to a file."""
        response = self.world.call("GET", f"/v1/audit/{path}", by="auditor", params=query)
        assert response.status_code == 200, response.text
        file = self.folder / name
        file.write_text(response.text)
        return file

    @property
    def key(self):
        return self.keep("key", "checkpoint/key").read_text().strip()


@pytest.fixture(scope="module")
def log(shared, parts, tmp_path_factory):
    """A log with two checkpoints and one entry after the second."""
    with copied(shared) as stores:
        engine = engine_for(stores.postgres.service_url)
        owner = create_engine(stores.postgres.owner_url)
        with InProcessClient(app_of(replace(parts, sessions=sessions_on(engine)))) as client:
            world = World(client, shared.tokens)
            log = Log(world, owner, tmp_path_factory.mktemp("kept"))
            world.a_live_version()
            world.a_prefix(name="another")
            world.checkpoint()
            log.older = log.keep("older.note", "checkpoint")
            world.a_version(seed=1)
            world.a_prefix(name="third")
            world.checkpoint()
            log.newer = log.keep("newer.note", "checkpoint")
            world.a_prefix(name="fourth")
            log.export = log.keep("export.jsonl", "export")
            yield log
        engine.dispose()
        owner.dispose()


@pytest.fixture
def verify(capsys):
    """Return a function that runs the verifier and returns its exit status and output."""

    def verify(*arguments):
        status = verify_audit.main([str(each) for each in arguments])
        return status, capsys.readouterr().out

    return verify


@pytest.fixture
def tampered(log, tmp_path):
    """Return a function that writes a changed copy of the export and returns its file."""

    def tampered(change):
        documents = [json.loads(line) for line in log.export.read_text().splitlines()]
        file = tmp_path / "tampered.jsonl"
        file.write_text("".join(f"{json.dumps(each)}\n" for each in change(documents)))
        return file

    return tampered


def is_of(name, sequence=None):
    """Return a predicate for entries of the prefix `name`, or for its entry `sequence`."""

    def matches(document):
        return (
            "hash" in document
            and document["subject"].endswith(f"/{name}")
            and sequence in (None, document["sequence"])
        )

    return matches


def without(matches):
    return lambda documents: [each for each in documents if not matches(each)]


def repeated(matches):
    return lambda documents: [
        copy for each in documents for copy in [each] * (2 if matches(each) else 1)
    ]


def changed(matches, **members):
    return lambda documents: [each | members if matches(each) else each for each in documents]


def swapped(first, second):
    def swap(documents):
        places = [next(i for i, d in enumerate(documents) if m(d)) for m in (first, second)]
        documents[places[0]], documents[places[1]] = documents[places[1]], documents[places[0]]
        return documents

    return swap


def resealed(matches, **members):
    """Change an entry, then reseal it and all later ones, as the owner of the tables can."""

    def reseal(documents):
        heads = {}
        for each in documents:
            if "hash" in each:
                if matches(each):
                    each.update(members)
                each["previous"] = heads.get(each["subject"], each["previous"])
                rest = {name: each[name] for name in each if name != "hash"}
                sealed = verify_audit.sha256(rfc8785.dumps(rest))
                if sealed != each["hash"]:
                    each["hash"] = heads[each["subject"]] = sealed
        return documents

    return reseal


def is_leaf(document):
    return "index" in document


# Intact logs


def test_an_export_holds_with_nothing_but_the_standard_library(log):
    command = [sys.executable, "-I", "-S", FILE, log.export, "--key", log.key]
    notes = ["--checkpoint", log.older, "--checkpoint", log.newer]
    done = subprocess.run([*command, *notes], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = log.export.read_text().splitlines()
    entries = sum('"index"' not in line for line in lines)
    assert done.stdout.splitlines() == [
        f"{entries} entries in 5 chains are as sealed.",
        f"Nothing that {log.older} covers was removed or changed.",
        f"Nothing that {log.newer} covers was removed or changed.",
    ]


def test_one_chain_holds_without_any_checkpoint(log, verify):
    chain = log.keep("chain.jsonl", "export", subject=f"prefix:{log.world.prefix}")
    assert verify(chain) == (0, "9 entries in 1 chains are as sealed.\n")


def test_a_checkpoint_covers_one_chain(log, verify):
    subject = f"prefix:{log.world.prefix}"
    chain = log.keep("chain.jsonl", "export", subject=subject)
    size = log.older.read_text().split("\n")[1]
    proof = log.keep("proof.json", "proofs/inclusion", subject=subject, size=size)
    options = ("--key", log.key, "--checkpoint", log.older, "--inclusion", proof)
    status, output = verify(chain, *options)
    assert status == 0
    assert f"older.note covers {subject} up to entry 8." in output
    short = chain.with_name("short.jsonl")
    short.write_text("".join(chain.read_text().splitlines(keepends=True)[:7]))
    status, output = verify(short, *options)
    assert (status, "entry 8 is missing" in output) == (1, True)


def test_a_checkpoint_extends_an_older_one(log, verify):
    sizes = [note.read_text().split("\n")[1] for note in (log.older, log.newer)]
    proof = log.keep("grown.json", "proofs/consistency", first=sizes[0], second=sizes[1])
    notes = ("--checkpoint", log.older, "--checkpoint", log.newer)
    options = ("--key", log.key, "--consistency", proof)
    status, output = verify(*notes, *options)
    assert (status, "newer.note extends" in output) == (0, True)
    status, output = verify(*notes[2:], *notes[:2], *options)
    assert (status, output.startswith("BROKEN: The proof does not show")) == (1, True)


# Tampering that shows without a checkpoint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            changed(is_of("voice", 2), facts={"version": 7}),
            "voice: entry 2 is not what was sealed",
            id="fact",
        ),
        pytest.param(
            changed(is_of("voice", 3), principal="mallory"),
            "voice: entry 3 is not what was sealed",
            id="name",
        ),
        pytest.param(
            changed(is_of("voice", 2), hash=f"sha256:{'1' * 64}"),
            "voice: entry 2 is not what was sealed",
            id="hash",
        ),
        pytest.param(
            changed(is_of("voice", 4), previous=f"sha256:{'1' * 64}"),
            "voice: entry 4 does not follow",
            id="previous",
        ),
        pytest.param(
            without(is_of("voice", 5)), "entry 6 appears where entry 5 was expected", id="removed"
        ),
        pytest.param(
            without(is_of("voice", 1)), "entry 2 appears where entry 1 was expected", id="beginning"
        ),
        pytest.param(
            swapped(is_of("voice", 3), is_of("voice", 4)),
            "entry 4 appears where entry 3 was expected",
            id="reordered",
        ),
        pytest.param(
            repeated(is_of("voice", 9)),
            "voice: entry 9 appears where entry 10 was expected",
            id="repeated",
        ),
        pytest.param(
            changed(is_of("another", 1), subject="prefix:acme/stolen"),
            "acme/stolen: entry 1 is not what was sealed",
            id="another-subject",
        ),
        pytest.param(
            changed(is_of("voice", 2), note="by the way"), "is neither an entry", id="member-added"
        ),
        pytest.param(
            changed(is_of("voice", 2), facts={"share": 0.5}), "is not an integer", id="fraction"
        ),
        pytest.param(
            changed(is_of("voice", 2), facts={"bytes": 2**53}), "beyond 2**53", id="large-number"
        ),
        pytest.param(
            changed(is_of("voice", 2), facts={"name": "\ud800"}),
            "voice: entry 2 has a value that the log cannot contain",
            id="half-a-surrogate",
        ),
        pytest.param(lambda documents: [*documents, [1]], "is not a JSON object", id="no-object"),
        pytest.param(
            lambda documents: sorted(documents, key=is_leaf),
            "is neither an entry nor a leaf in its place",
            id="leaves-last",
        ),
        pytest.param(
            without(lambda document: document.get("index") == 0),
            "Leaf 1 appears where leaf 0 was expected",
            id="leaf-removed",
        ),
        pytest.param(
            changed(is_leaf, length="1"), "leaf 0 does not name an entry", id="leaf-of-nothing"
        ),
        pytest.param(
            lambda documents: [documents[0], documents[0] | {"index": 1, "head": "another"}],
            "leaf 0 and leaf 1 disagree on entry",
            id="leaves-disagree",
        ),
        # The leaves are part of an export of all chains and record the chains' ends.
        pytest.param(
            without(is_of("voice", 9)),
            "voice: entry 9 is missing, although leaf",
            id="end-removed",
        ),
        pytest.param(without(is_of("another")), "the whole chain is missing", id="chain-removed"),
        pytest.param(
            resealed(is_of("voice", 3), principal="mallory"),
            "voice: entry 8 or an earlier one was rewritten: leaf",
            id="resealed",
        ),
    ],
)
def test_tampering_is_named(tampered, verify, change, message):
    status, printed = verify(tampered(change))
    assert (status, printed.startswith("BROKEN: ")) == (1, True)
    assert message in printed


@pytest.mark.parametrize(
    "line", ['{"a": 1, "a": 2}', "{", '"\\ud800', "[" * 100_000, '{"a": NaN}', "\x00", "5"]
)
def test_an_invalid_line_is_named(tmp_path, verify, line):
    file = tmp_path / "export.jsonl"
    file.write_text(f"{line}\n")
    status, printed = verify(file)
    assert (status, printed.startswith("BROKEN: Line 1 is not")) == (1, True)


# Tampering that only a checkpoint shows, because the leaves were changed as well


def releaved(change):
    """Change the entries, and make leaves that fit the result."""

    def consistent(documents):
        documents = change(documents)
        hashes = {(d["subject"], d["sequence"]): d["hash"] for d in documents if "hash" in d}
        leaves = [
            {**d, "head": hashes[d["subject"], d["length"]]}
            for d in documents
            if is_leaf(d) and (d["subject"], d["length"]) in hashes
        ]
        numbered = [{**leaf, "index": index} for index, leaf in enumerate(leaves)]
        return [*numbered, *(each for each in documents if not is_leaf(each))]

    return consistent


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(without(is_of("voice", 9)), "newer.note covers", id="end-removed"),
        pytest.param(without(is_of("another")), "older.note was signed for", id="chain-removed"),
        pytest.param(
            resealed(is_of("voice", 3), principal="mallory"),
            "older.note was signed for",
            id="resealed",
        ),
        pytest.param(lambda documents: [], "older.note covers", id="all-removed"),
        pytest.param(without(is_leaf), "older.note covers", id="no-leaves"),
    ],
)
def test_a_perfect_forgery_is_caught_by_a_checkpoint(log, tampered, verify, change, message):
    forged = tampered(releaved(change))
    assert verify(forged)[0] == 0
    notes = ("--checkpoint", log.older, "--checkpoint", log.newer)

    status, printed = verify(forged, "--key", log.key, *notes)

    assert (status, printed.startswith("BROKEN: ")) == (1, True)
    assert message in printed


def test_a_database_administrator_who_rewrites_history_is_caught_by_an_older_checkpoint(
    log, parts, verify, tmp_path
):
    """The forgery disables the triggers, replaces a principal, and reseals and signs everything."""
    subject = f"prefix:{log.world.prefix}"
    with log.owner.connect() as connection, connection.begin() as transaction:
        served = app_of(replace(parts, sessions=sessions_on(connection)))
        world = World(InProcessClient(served), log.world.tokens)
        rewrite(connection, subject)
        world.checkpoint()  # the registry has no earlier state to compare with
        verdict = world.made("GET", "/v1/audit/verify", by="auditor", params={"subject": subject})
        export = world.call("GET", "/v1/audit/export", by="auditor").text
        transaction.rollback()
    file = tmp_path / "rewritten.jsonl"
    file.write_text(export)

    assert verdict["valid"]
    assert verify(file)[0] == 0
    status, printed = verify(file, "--key", log.key, "--checkpoint", log.older)
    assert (status, "older.note was signed for other leaves" in printed) == (1, True)


def rewrite(connection, subject):
    """Make `mallory` the principal of the first entry, and reseal all later ones."""
    tables = ("audit_entry", "audit_chain", "audit_leaf", "audit_node", "audit_checkpoint")
    for table in tables:
        connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    for table in tables[2:]:
        connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - fixed names
    exported = connection.execute(
        text("SELECT sequence, previous FROM audit_entry WHERE subject = :s ORDER BY sequence"),
        {"s": subject},
    ).all()
    head = exported[0].previous
    for sequence, _ in exported:
        head = reseal_row(connection, subject, sequence, head)
    connection.execute(
        text("UPDATE audit_chain SET head = :head WHERE subject = :s"),
        {"head": head, "s": subject},
    )


def reseal_row(connection, subject, sequence, previous):
    """Rewrite one entry after `previous`; return its hash."""
    key = {"s": subject, "n": sequence}
    where = "WHERE subject = :s AND sequence = :n"
    row = connection.execute(text(f"SELECT * FROM audit_entry {where}"), key).one()  # noqa: S608
    document = {
        "subject": subject,
        "sequence": sequence,
        "at": row.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "principal": "mallory" if sequence == 1 else row.principal,
        "principal_id": str(row.principal_id),
        "action": row.action,
        "facts": row.facts,
        "previous": previous,
    }
    changed = key | {
        "principal": document["principal"],
        "previous": previous,
        "hash": verify_audit.sha256(rfc8785.dumps(document)),
    }
    names = "principal = :principal, previous = :previous, hash = :hash"
    connection.execute(text(f"UPDATE audit_entry SET {names} {where}"), changed)  # noqa: S608
    return changed["hash"]


# Checkpoints that cannot be trusted


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        pytest.param("\n\n", "\nmore\n\n", "signature by registry.test/audit does not", id="line"),
        pytest.param("registry.test/audit\n", "another.log\n", "does not hold", id="origin"),
        pytest.param("\N{EM DASH} ", "- ", "none of the given keys", id="signature-line"),
        pytest.param("\n\n", "\n", "does not hold", id="no-blank-line"),
    ],
)
def test_a_changed_checkpoint_is_not_trusted(log, tmp_path, verify, before, after, message):
    note = tmp_path / "changed.note"
    note.write_text(log.older.read_text().replace(before, after, 1))
    status, printed = verify(log.export, "--key", log.key, "--checkpoint", note)
    assert (status, printed.startswith(f"BROKEN: {note} cannot be trusted")) == (1, True)
    assert message in printed


def test_signatures_of_witnesses_whose_keys_are_unknown_do_not_matter(log, tmp_path, verify):
    body, _, signature = log.older.read_text().rpartition("\n\n")
    witness = f"\N{EM DASH} witness.test {published_note.SIGNATURE}"
    note = tmp_path / "witnessed.note"
    note.write_text(f"{body}\n\n{witness}\nnot a signature\n{signature}")
    assert verify(log.export, "--key", log.key, "--checkpoint", note)[0] == 0


def test_another_note_of_the_same_key_is_no_checkpoint(log, signer, tmp_path, verify):
    note = tmp_path / "another.note"
    note.write_text(published_note.signed_note("registry.test/audit\nhello\n", signer))
    status, printed = verify(log.export, "--key", log.key, "--checkpoint", note)
    assert (status, "not a checkpoint of registry.test/audit" in printed) == (1, True)


@pytest.mark.parametrize("key", ["", "name", "a+b+c", published_note.VERIFIER_KEY[:-4]])
def test_an_invalid_key_is_reported(log, capsys, key):
    arguments = [str(log.export), "--key", key, "--checkpoint", str(log.older)]
    assert verify_audit.main(arguments) == 2
    assert "is not an Ed25519 key" in capsys.readouterr().err


def test_a_missing_file_is_reported(tmp_path, capsys):
    assert verify_audit.main([str(tmp_path / "none.jsonl")]) == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "proof", ["{}", '{"path": 5}', '{"leaf": {}, "index": 0, "path": []}', '{"leaf": 1}']
)
def test_a_malformed_proof_is_refused(log, tmp_path, verify, proof):
    file = tmp_path / "proof.json"
    file.write_text(proof)
    options = ("--key", log.key, "--checkpoint", log.older)
    assert verify(log.export, *options, "--inclusion", file)[0] == 1
    both = (*options, "--checkpoint", log.newer, "--consistency", file)
    assert verify(*both)[0] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x.jsonl", "--checkpoint", "a.note"],
        ["x.jsonl", "--key", "k", "--inclusion", "p.json"],
        ["--key", "k", "--checkpoint", "a.note", "--consistency", "p.json"],
    ],
)
def test_options_that_do_not_fit_together_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        verify_audit.main(arguments)
    assert ended.value.code == 2
    assert "usage: verify_audit" in capsys.readouterr().err


# The verifier's arithmetic, against published test vectors and the registry


@pytest.mark.parametrize(("key", "message", "signature"), ED25519)
def test_the_published_signatures_hold_and_no_others(key, message, signature):
    key, message, signature = map(bytes.fromhex, (key, message, signature))
    assert verify_audit.signature_holds(key, message, signature)
    assert not verify_audit.signature_holds(key, message + b"x", signature)
    for place in (0, 31, 32, 63):
        wrong = published_tree.flipped(signature, place * 8)
        assert not verify_audit.signature_holds(key, message, wrong)
        assert not verify_audit.signature_holds(published_tree.flipped(key, 3), message, wrong)
    scalar = int.from_bytes(signature[32:], "little") + verify_audit.ORDER
    malleable = signature[:32] + scalar.to_bytes(32, "little")
    assert not verify_audit.signature_holds(key, message, malleable)
    assert not verify_audit.signature_holds(b"\xff" * 32, message, signature)
    assert not verify_audit.signature_holds(key[:31], message, signature)


def test_signatures_of_another_implementation_hold():
    key = Ed25519PrivateKey.generate()
    public_key = key.public_key().public_bytes_raw()
    for size in (0, 1, 200):
        message = bytes(size)
        assert verify_audit.signature_holds(public_key, message, key.sign(message))


def test_the_published_note_is_opened():
    text_, signature = published_note.TEXT, published_note.SIGNATURE
    note = f"{text_}\n— PeterNeumann {signature}\n".encode()
    keys = dict([verify_audit.verifier_key(published_note.VERIFIER_KEY)])
    assert verify_audit.opened(note, keys) == ("PeterNeumann", text_)
    with pytest.raises(ValueError, match="does not hold"):
        verify_audit.opened(note.replace(b"cryptography", b"astrology"), keys)


@pytest.mark.parametrize(("index", "size"), published_tree.INCLUSION)
def test_the_published_inclusion_paths_lead_to_the_roots(index, size):
    path = list(map(bytes.fromhex, published_tree.INCLUSION[index, size]))
    leaf = published_tree.leaf_hash(published_tree.LEAVES[index])
    root = verify_audit.root_of_inclusion(leaf, index, size, path)
    assert root == published_tree.ROOTS[size]
    assert verify_audit.root_of_inclusion(leaf, size, size, path) is None
    assert verify_audit.root_of_inclusion(leaf, index, size, [*path, leaf]) is None


@pytest.mark.parametrize(("first", "second"), [(1, 8), (2, 5), (6, 8)])
def test_the_published_consistency_paths_lead_to_the_roots(first, second):
    path = list(map(bytes.fromhex, published_tree.CONSISTENCY[first, second]))
    roots = published_tree.ROOTS
    led_to = verify_audit.roots_of_consistency(first, second, roots[first], path)
    assert led_to == (roots[first], roots[second])
    wrong = verify_audit.roots_of_consistency(first, second, roots[first], [*path, path[0]])
    assert wrong is None


def test_members_are_in_the_order_of_their_utf_16_code_units():
    """A character beyond the first plane sorts by its surrogates, before U+E000 and later ones."""
    assert verify_audit.canonical({"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3}) == (
        '{"\u20ac":3,"\U0001f600":2,"\ufb33":1}'.encode()
    )


@given(FACTS | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.none()))
def test_the_canonical_json_is_that_of_the_registry(facts):
    assert verify_audit.canonical(facts) == rfc8785.dumps(facts)
