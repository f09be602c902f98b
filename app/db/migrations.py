"""Migrating the database to the schema of this release, and granting the service its rights."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Table, text

from app.db.models import APPEND_ONLY, DISPOSABLE, Base
from app.db.schema import REVISION

_MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"


def alembic_config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration; with `connection`, commands run in its transaction."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def migrate(connection: Connection, *, service_role: str) -> None:
    """Migrate the tables to this release's schema and grant `service_role` access to them.

    The service role may read and insert rows in every table, update them in tables that are not
    append-only, and delete them in tables marked as disposable. It may not define or truncate
    tables. A role that owns the tables can do all of this regardless of grants, so the service
    needs a separate role.
    """
    command.upgrade(alembic_config(connection), REVISION)
    role = connection.dialect.identifier_preparer.quote(service_role)
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {role}"))
    connection.execute(text(f"GRANT SELECT ON alembic_version TO {role}"))
    for table in Base.metadata.sorted_tables:
        connection.execute(text(f"GRANT {_rights(table)} ON {table.name} TO {role}"))


def _rights(table: Table) -> str:
    if table.info == APPEND_ONLY:
        return "SELECT, INSERT"
    return "SELECT, INSERT, UPDATE" + (", DELETE" if table.info == DISPOSABLE else "")
