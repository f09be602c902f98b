"""Alembic's environment: runs migrations on a given connection, or on the configured database."""

from alembic import context
from sqlalchemy import Connection

from app.db.models import Base
from app.db.session import engine_for
from app.settings import settings_from_environment


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    settings = settings_from_environment()
    engine = engine_for(settings.migration_database_url or settings.database_url)
    with engine.connect() as connection:
        run(connection)
