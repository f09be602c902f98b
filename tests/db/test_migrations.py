"""Migrations: upgrading, downgrading, and agreement with the models."""

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from app.db.migrations import alembic_config, migrate
from app.db.models import Base
from app.db.schema import REVISION, schema_revision
from app.db.session import sessions_on
from app.local.postgres import SERVICE_ROLE

NAME_LIMIT = 63  # PostgreSQL silently truncates longer names


@pytest.fixture
def database(an_empty_database):
    engine = create_engine(an_empty_database)
    yield engine
    engine.dispose()


@pytest.fixture
def migrated(database):
    with database.begin() as connection:
        command.upgrade(alembic_config(connection), "head")
    return database


def tables(engine):
    return set(inspect(engine).get_table_names())


def test_an_empty_database_has_no_schema_revision(database):
    with sessions_on(database)() as session:
        assert schema_revision(session) is None


def test_the_latest_migration_creates_every_table(migrated):
    assert tables(migrated) == {"alembic_version", *Base.metadata.tables}
    with sessions_on(migrated)() as session:
        assert schema_revision(session) == REVISION


def test_the_migrations_agree_with_the_models(migrated):
    with migrated.begin() as connection:
        command.check(alembic_config(connection))


def test_every_migration_can_be_downgraded_and_repeated(migrated):
    with migrated.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    assert tables(migrated) == {"alembic_version"}
    with migrated.connect() as connection:
        left = connection.scalars(
            text("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        )
        assert left.all() == []

    with migrated.begin() as connection:
        command.upgrade(alembic_config(connection), "head")
        command.check(alembic_config(connection))


def test_migrating_twice_changes_nothing(database):
    for _ in range(2):
        with database.begin() as connection:
            migrate(connection, service_role=SERVICE_ROLE)
    assert tables(database) == {"alembic_version", *Base.metadata.tables}


def test_a_migration_that_is_not_committed_leaves_nothing(database):
    with database.connect() as connection, connection.begin() as transaction:
        command.upgrade(alembic_config(connection), "head")
        transaction.rollback()
    assert tables(database) == set()


def test_every_constraint_and_index_has_its_conventional_name(migrated):
    found = inspect(migrated)
    for name, table in Base.metadata.tables.items():
        indexes = {index["name"] for index in found.get_indexes(name)}
        unique = {each["name"] for each in found.get_unique_constraints(name)}
        named = {
            "pk": {found.get_pk_constraint(name)["name"]},
            "fk": {each["name"] for each in found.get_foreign_keys(name)},
            "ck": {each["name"] for each in found.get_check_constraints(name)},
            "uq": unique,
            "ix": indexes - unique,
        }
        for kind, names in named.items():
            assert all(each.startswith(f"{kind}_{name}") for each in names), (kind, names)
            assert all(len(each) < NAME_LIMIT for each in names), names
        assert len(named["fk"]) == len(table.foreign_key_constraints)


def test_the_server_needs_the_latest_migration():
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [REVISION]
