"""`prefix-registry collect`."""

from datetime import timedelta
from typing import Annotated

import typer

from app.cli.registry import the_registry
from app.http.deps import clock
from app.services.artifacts.garbage_collection import collect
from app.storage.s3 import S3Blobs
from app.storage.s3_staging import S3Staging


def run(
    *,
    grace_hours: Annotated[float, typer.Option(min=0, help="Leave younger objects alone.")] = 24,
    delete: Annotated[bool, typer.Option(help="Really remove; without it, only say what.")] = False,
) -> None:
    with the_registry() as (sessions, account):
        collected = collect(
            sessions,
            S3Blobs(account),
            S3Staging(account),
            grace=timedelta(hours=grace_hours),
            dry_run=not delete,
            now=clock(),
        )
    word = "Removed" if delete else "Would remove"
    typer.echo(
        f"{word} {collected.objects} objects of {collected.size_bytes:,} bytes and "
        f"{collected.uploads} expired uploads."
    )
