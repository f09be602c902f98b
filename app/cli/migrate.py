"""`prefix-registry migrate`."""

import typer
from sqlalchemy import create_engine, make_url

from app.cli.registry import database_refusals_told
from app.db.migrations import migrate
from app.db.schema import REVISION
from app.domain.errors import OperatorError
from app.settings import settings_from_environment


def run() -> None:
    settings = settings_from_environment()
    service_role = make_url(settings.database_url).username
    if service_role is None:
        raise OperatorError("REGISTRY_DATABASE_URL names no user, and rights go to a user.")
    engine = create_engine(settings.migration_database_url or settings.database_url)
    with database_refusals_told(), engine.begin() as connection:
        migrate(connection, service_role=service_role)
    engine.dispose()
    typer.echo(f"The tables are at migration {REVISION}.")
