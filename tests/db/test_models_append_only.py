"""What the database itself refuses, whoever asks: history is not rewritten."""

import uuid

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from app.db.models import APPEND_ONLY, DISPOSABLE, Base
from app.local.postgres import SERVICE_ROLE
from tests.services.evidence.test_submissions_samples import record, rows
from tests.support.builders import World

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
    """A registry with a row in every table that is append-only."""
    with TestClient(app) as client:
        world = World(client, tokens)
        version = world.a_live_version()
        world.void(world.evaluate(version).json())
        assert record(world, version, rows(2)).status_code == 201
        world.revoke(version)
        world.checkpoint()
        yield world


def refused(engine, statement):
    """Return what the database says to a statement that it must not carry out."""
    with engine.connect() as connection, pytest.raises(DBAPIError) as refusal:
        connection.execute(text(statement))
    return refusal.value


def first_column(table):
    return next(iter(TABLES[table].columns)).name


def test_some_tables_are_append_only():
    assert {"audit_entry", "version", "evaluation", "generation", "review"} <= set(FLAGGED)


def test_every_append_only_table_has_a_row_to_try_it_on(sessions, a_full_registry):
    with sessions() as session:
        bare = [name for name in FLAGGED if session.execute(select(TABLES[name])).first() is None]
    assert bare == []


@pytest.mark.parametrize("table", FLAGGED)
@pytest.mark.parametrize("statement", ["UPDATE {t} SET {c} = {c}", "DELETE FROM {t}"])
def test_rows_are_neither_changed_nor_deleted_even_by_the_owner(
    owner, a_full_registry, table, statement
):
    error = refused(owner, statement.format(t=table, c=first_column(table)))
    assert isinstance(error, IntegrityError)
    assert f"{table} is append-only" in str(error)


@pytest.mark.parametrize("table", [*FLAGGED, "audit_chain"])
def test_no_table_of_history_is_truncated_even_by_the_owner(owner, table):
    error = refused(owner, f"TRUNCATE {table} CASCADE")
    assert isinstance(error, IntegrityError)
    assert "append-only: TRUNCATE refused" in str(error)


@pytest.mark.parametrize("table", FLAGGED)
@pytest.mark.parametrize("statement", ["UPDATE {t} SET {c} = {c}", "DELETE FROM {t}"])
def test_the_service_has_no_right_to_try(engine, a_full_registry, table, statement):
    error = refused(engine, statement.format(t=table, c=first_column(table)))
    assert isinstance(error, ProgrammingError)
    assert "permission denied" in str(error)


def test_the_triggers_are_exactly_on_the_tables_that_are_marked(owner):
    statement = text(
        "SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "JOIN pg_proc p ON p.oid = t.tgfoid "
        "WHERE p.proname = 'refuse_change' AND t.tgname = c.relname || :ending "
        "AND t.tgenabled = 'O'"
    )
    with owner.connect() as connection:
        kept = connection.scalars(statement, {"ending": "_is_append_only"}).all()
        not_truncated = connection.scalars(statement, {"ending": "_is_not_truncated"}).all()
    assert sorted(kept) == FLAGGED
    assert sorted(not_truncated) == sorted([*FLAGGED, "audit_chain"])


# The ends of the audit chains


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("length = length - 1", id="cut-short"),
        pytest.param("length = length + 2", id="skipped"),
        pytest.param("head = '{digest}'", id="turned"),
        pytest.param("subject = 'prefix:another/one'", id="renamed"),
    ],
)
def test_the_end_of_a_chain_only_moves_on(owner, a_full_registry, change):
    change = change.format(digest=f"sha256:{'1' * 64}")
    statement = f"UPDATE audit_chain SET {change} WHERE subject = 'registry'"  # noqa: S608 - ours
    error = refused(owner, statement)
    assert "may only grow by one entry" in str(error)


def test_the_end_of_a_chain_is_not_deleted(owner, a_full_registry):
    error = refused(owner, "DELETE FROM audit_chain WHERE subject = 'registry'")
    assert "audit_chain is append-only" in str(error)


def test_history_hangs_on_nothing_that_could_be_deleted_or_renamed(owner):
    """Entries and leaves refer to chains by subject, to nothing else, and nothing cascades."""
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


def test_what_a_checkpoint_covers_is_not_deleted_even_if_the_triggers_are_off(
    owner, a_full_registry
):
    with owner.connect() as connection, connection.begin() as transaction:
        connection.execute(text("ALTER TABLE audit_entry DISABLE TRIGGER USER"))
        with pytest.raises(IntegrityError, match="fk_audit_leaf_subject_length_audit_entry"):
            connection.execute(text("DELETE FROM audit_entry WHERE subject = 'registry'"))
        transaction.rollback()


# The service's rights


def rights_of_the_service(owner):
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
    assert rights_of_the_service(owner) == expected


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
def test_the_service_defines_drops_and_truncates_nothing(engine, statement):
    error = refused(engine, statement)
    assert "permission denied" in str(error) or "must be owner" in str(error)


# What is refused although the code would never do it


def test_a_version_number_is_given_once(sessions, a_full_registry):
    copied = (
        "INSERT INTO version SELECT :id, prefix_id, number, :digest, base_model_id, peft_type, "
        "virtual_tokens, dtype, parameters, key_norms, value_norms, remarks, card, lineage, "
        "created_at, created_by_id FROM version LIMIT 1"
    )
    values = {"id": uuid.uuid4(), "digest": f"sha256:{'2' * 64}"}
    with sessions() as session, pytest.raises(IntegrityError, match="uq_version_prefix_id_number"):
        session.execute(text(copied), values)


def test_what_is_no_digest_is_not_stored(sessions):
    statement = text("INSERT INTO damage VALUES ('sha256:short', now(), 'none')")
    with sessions() as session, pytest.raises(IntegrityError, match="sha256_is_digest"):
        session.execute(statement)


def test_no_share_is_beyond_all_traffic(sessions, a_full_registry):
    copied = text(
        "INSERT INTO generation_share SELECT channel_id, number, version_id, 10001 "
        "FROM generation_share LIMIT 1"
    )
    with sessions() as session, pytest.raises(IntegrityError, match="weight_in_range"):
        session.execute(copied)
