"""`prefix-registry migrate` and `prefix-registry create-bucket`."""

import typer
from sqlalchemy import create_engine, make_url

from app.cli.registry import database_errors_reported
from app.db import migrations
from app.db.schema import REVISION
from app.domain.errors import OperatorError
from app.settings import settings_from_environment
from app.storage.s3 import prepare_bucket


def migrate() -> None:
    settings = settings_from_environment()
    service_role = make_url(settings.database_url).username
    if service_role is None:
        raise OperatorError("REGISTRY_DATABASE_URL names no user to grant rights to.")
    engine = create_engine(settings.migration_database_url or settings.database_url)
    with database_errors_reported(), engine.begin() as connection:
        migrations.migrate(connection, service_role=service_role)
    engine.dispose()
    typer.echo(f"The tables are at migration {REVISION}.")


def create_bucket() -> None:
    account = settings_from_environment().s3_account
    prepare_bucket(account)
    typer.echo(f"The bucket {account.bucket} accepts objects.")
