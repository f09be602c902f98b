"""Append-only tables: the database itself refuses to rewrite history, for every role."""

import uuid
from contextlib import nullcontext

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from app.db.models import APPEND_ONLY, DISPOSABLE, Base
from app.local.postgres import SERVICE_ROLE
from tests.services.evidence.test_submissions_samples import record, rows
from tests.services.evidence.test_suites_sealed import a_manifest, seal
from tests.support.builders import World
from tests.support.session.in_process import InProcessClient

TABLES = {table.name: table for table in Base.metadata.sorted_tables}
FLAGGED = sorted(name for name, table in TABLES.items() if table.info == APPEND_ONLY)
RIGHTS = {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"}


@pytest.fixture(scope="module")
def owner(stores, tokens):
    """An engine with the rights of the role that owns the tables."""
    engine = create_engine(stores.postgres.owner_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def a_full_registry(app, tokens):
    """A registry with a row in every append-only table."""
    with InProcessClient(app) as client:
        world = World(client, tokens)
        version = world.a_live_version()
        world.void(world.evaluate(version).json())
        assert record(world, version, rows(2)).status_code == 201
        assert seal(world, a_manifest()).status_code == 201
        world.revoke(version)
        world.checkpoint()
        yield world


def refused(engine, statement):
    """Return the database's error for a statement that it must refuse."""
    with engine.connect() as connection, pytest.raises(DBAPIError) as refusal:
        connection.execute(text(statement))
    return refusal.value


def first_column(table):
    return next(iter(TABLES[table].columns)).name


def test_some_tables_are_append_only():
    assert {"audit_entry", "version", "evaluation", "generation", "review"} <= set(FLAGGED)


def test_every_append_only_table_has_a_row_in_the_registry(sessions, a_full_registry):
    with sessions() as session:
        bare = [name for name in FLAGGED if session.execute(select(TABLES[name])).first() is None]
    assert bare == []


@pytest.mark.parametrize("table", FLAGGED)
@pytest.mark.parametrize("statement", ["UPDATE {t} SET {c} = {c}", "DELETE FROM {t}"])
def test_even_the_owner_cannot_change_or_delete_rows(owner, a_full_registry, table, statement):
    error = refused(owner, statement.format(t=table, c=first_column(table)))
    assert isinstance(error, IntegrityError)
    assert f"{table} is append-only" in str(error)


@pytest.mark.parametrize("table", [*FLAGGED, "audit_chain"])
def test_even_the_owner_cannot_truncate_history(owner, table):
    error = refused(owner, f"TRUNCATE {table} CASCADE")
    assert isinstance(error, IntegrityError)
    assert "append-only: TRUNCATE refused" in str(error)


@pytest.mark.parametrize("table", FLAGGED)
@pytest.mark.parametrize("statement", ["UPDATE {t} SET {c} = {c}", "DELETE FROM {t}"])
def test_the_service_lacks_the_rights_to_change_history(engine, a_full_registry, table, statement):
    error = refused(engine, statement.format(t=table, c=first_column(table)))
    assert isinstance(error, ProgrammingError)
    assert "permission denied" in str(error)


def test_exactly_the_append_only_tables_have_triggers(owner):
    statement = text(
        "SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "JOIN pg_proc p ON p.oid = t.tgfoid "
        "WHERE p.proname = 'refuse_change' AND t.tgname = c.relname || :ending "
        "AND t.tgenabled = 'O'"
    )
    with owner.connect() as connection:
        append_only = connection.scalars(statement, {"ending": "_is_append_only"}).all()
        not_truncated = connection.scalars(statement, {"ending": "_is_not_truncated"}).all()
    assert sorted(append_only) == FLAGGED
    assert sorted(not_truncated) == sorted([*FLAGGED, "audit_chain"])


# Audit chains


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("length = length - 1", id="cut-short"),
        pytest.param("length = length + 2", id="skipped"),
        pytest.param("head = '{digest}'", id="replaced"),
        pytest.param("subject = 'prefix:another/one'", id="renamed"),
        pytest.param("latest_at = latest_at - interval '1 second'", id="back-in-time"),
    ],
)
def test_a_chain_can_only_grow_by_one_entry(owner, a_full_registry, change):
    change = change.format(digest=f"sha256:{'1' * 64}")
    statement = f"UPDATE audit_chain SET {change} WHERE subject = 'registry'"  # noqa: S608 - ours
    error = refused(owner, statement)
    assert "may only grow by one entry" in str(error)


@pytest.mark.parametrize(
    ("at", "accepted"),
    [("deactivated_at", True), ("deactivated_at + interval '1 microsecond'", False)],
    ids=["the-deactivation-itself", "later"],
)
def test_no_entry_of_a_principal_follows_its_deactivation(world, stores, owner, at, accepted):
    """The last line of defence, which holds for every client of the database."""
    name, _ = world.a_principal()
    assert world.call("DELETE", f"/v1/principals/{name}", by="admin").status_code == 204
    statement = text(
        f"INSERT INTO audit_entry SELECT 'registry', 1000000, {at}, name, id, 'token.issue', "  # noqa: S608
        "'{}', head, head FROM principal, audit_chain WHERE name = :name AND subject = 'registry'"
    )
    with owner.connect() as connection, connection.begin() as transaction:
        refusal = nullcontext() if accepted else pytest.raises(IntegrityError, match="deactivated")
        with refusal:
            connection.execute(statement, {"name": name})
        transaction.rollback()


def test_a_chain_cannot_be_deleted(owner, a_full_registry):
    error = refused(owner, "DELETE FROM audit_chain WHERE subject = 'registry'")
    assert "audit_chain is append-only" in str(error)


def test_history_depends_on_no_deletable_or_renamable_row(owner):
    """Entries refer to chains and leaves to entries, to nothing else, and nothing cascades."""
    statement = text(
        "SELECT conrelid::regclass::text, confrelid::regclass::text, confdeltype, confupdtype "
        "FROM pg_constraint WHERE contype = 'f'"
    )
    with owner.connect() as connection:
        found = connection.execute(statement).all()
    assert {(deleting, updating) for *_, deleting, updating in found} == {("a", "a")}
    assert {(held, by) for held, by, *_ in found if held.startswith("audit_")} == {
        ("audit_entry", "audit_chain"),
        ("audit_leaf", "audit_entry"),
    }


def test_entries_under_a_checkpoint_cannot_be_deleted_even_without_triggers(owner, a_full_registry):
    with owner.connect() as connection, connection.begin() as transaction:
        connection.execute(text("ALTER TABLE audit_entry DISABLE TRIGGER USER"))
        with pytest.raises(IntegrityError, match="fk_audit_leaf_subject_length_audit_entry"):
            connection.execute(text("DELETE FROM audit_entry WHERE subject = 'registry'"))
        transaction.rollback()


# The service's rights


def rights_of_service(owner):
    statement = text(
        "SELECT table_name, privilege_type FROM information_schema.role_table_grants "
        "WHERE grantee = :role AND table_schema = 'public'"
    )
    held = {}
    with owner.connect() as connection:
        for table, right in connection.execute(statement, {"role": SERVICE_ROLE}):
            held.setdefault(table, set()).add(right)
    return held


def test_the_service_has_no_more_rights_than_it_needs(owner):
    expected = {"alembic_version": {"SELECT"}}
    for name, table in TABLES.items():
        expected[name] = {"SELECT", "INSERT"}
        if table.info != APPEND_ONLY:
            expected[name].add("UPDATE")
        if table.info == DISPOSABLE:
            expected[name].add("DELETE")
    assert rights_of_service(owner) == expected


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE intruder (id integer)",
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE SCHEMA intruder",
        "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
        "ALTER TABLE version ADD COLUMN intruder integer",
        "DROP TRIGGER audit_entry_is_append_only ON audit_entry",
        "DROP TABLE upload",
        "TRUNCATE upload",
        "SET session_replication_role = replica",
    ],
)
def test_the_service_cannot_define_drop_or_truncate(engine, statement):
    error = refused(engine, statement)
    assert "permission denied" in str(error) or "must be owner" in str(error)


# Constraints that the code never violates


def test_a_version_number_is_unique(sessions, a_full_registry):
    copied = (
        "INSERT INTO version SELECT :id, prefix_id, number, :digest, content, base_model_id, "
        "peft_type, virtual_tokens, dtype, parameters, key_norms, value_norms, remarks, card, "
        "lineage, created_at, created_by_id FROM version LIMIT 1"
    )
    values = {"id": uuid.uuid4(), "digest": f"sha256:{'2' * 64}"}
    with sessions() as session, pytest.raises(IntegrityError, match="uq_version_prefix_id_number"):
        session.execute(text(copied), values)


def test_a_malformed_digest_is_refused(sessions):
    statement = text("INSERT INTO damage VALUES ('sha256:short', now(), 'none')")
    with sessions() as session, pytest.raises(IntegrityError, match="sha256_is_digest"):
        session.execute(statement)


def test_a_share_above_all_traffic_is_refused(sessions, a_full_registry):
    copied = text(
        "INSERT INTO generation_share SELECT channel_id, number, version_id, 10001 "
        "FROM generation_share LIMIT 1"
    )
    with sessions() as session, pytest.raises(IntegrityError, match="weight_in_range"):
        session.execute(copied)
