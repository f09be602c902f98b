"""Which migration the tables are at, and which this release needs."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

# The last one in `migrations/versions`. A server compares it with the tables' own at its start and
# whenever it is asked whether it is ready; finding it out there would take all of Alembic.
REVISION: Final = "0001"


def schema_revision(session: Session) -> str | None:
    """Return the migration that the database is at; None before the first."""
    if session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    return found
