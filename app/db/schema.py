"""The state of the tables: which migration they are at, bringing them to the latest."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from app.db.models import APPEND_ONLY, Base

MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"


def schema_revision(session: Session) -> str | None:
    """Return the migration that the database is at; None before the first."""
    return MigrationContext.configure(session.connection()).get_current_revision()


def latest_revision() -> str:
    """Return the migration that this code expects."""
    latest = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if latest is None:
        raise RuntimeError(f"there are no migrations in {MIGRATIONS}")
    return latest


def alembic_config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration; with `connection`, commands run in its transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def migrate(connection: Connection, *, service_role: str) -> None:
    """Bring the tables to the latest migration and let `service_role` use them.

    The service's role can read and add rows everywhere, and change them only where a table is
    not append-only. It can neither define nor truncate anything. A role that owns the tables
    can do all of that anyway, so give the service one of its own.
    """
    command.upgrade(alembic_config(connection), "head")
    role = connection.dialect.identifier_preparer.quote(service_role)
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {role}"))
    connection.execute(text(f"GRANT SELECT ON alembic_version TO {role}"))
    for table in Base.metadata.sorted_tables:
        append_only = table.info == APPEND_ONLY
        rights = "SELECT, INSERT" if append_only else "SELECT, INSERT, UPDATE"
        connection.execute(text(f"GRANT {rights} ON {table.name} TO {role}"))
    connection.execute(text(f"GRANT DELETE ON role_grant TO {role}"))
