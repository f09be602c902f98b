"""`prefix-registry create-bucket`."""

import typer

from app.settings import settings_from_environment
from app.storage.s3 import prepare_bucket


def run() -> None:
    account = settings_from_environment().s3_account
    prepare_bucket(account)
    typer.echo(f"The bucket {account.bucket} takes objects.")
