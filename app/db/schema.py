"""The schema revision of the database, and the one that this release needs."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

# The latest revision in `migrations/versions`. The server compares it with the database at start-up
# and in readiness checks; a constant saves it from loading Alembic.
REVISION: Final = "0001"


def schema_revision(session: Session) -> str | None:
    """Return the schema revision of the database; None before the first migration."""
    if session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    return found
