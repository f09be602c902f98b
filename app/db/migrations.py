"""Bringing the tables to the migration that this release needs."""

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
    """Bring the tables to the latest migration and let `service_role` use them.

    The service's role can read and add rows everywhere, change them where a table is not
    append-only, and delete them where a table is marked disposable. It can neither define nor
    truncate anything. A role that owns the tables can do all of that anyway, so give the
    service one of its own.
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
