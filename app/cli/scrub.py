"""`prefix-registry scrub`."""

import sys

import typer

from app.cli.registry import the_registry
from app.db.blobs import referenced_size_bytes
from app.http.deps import clock
from app.services.artifacts.garbage_collection import scrub
from app.storage.s3 import S3Blobs


def run() -> None:
    with the_registry() as (sessions, account):
        with sessions() as session:
            total = referenced_size_bytes(session)
        with typer.progressbar(length=total, label="Hashing", file=sys.stderr) as bar:
            found = scrub(sessions, S3Blobs(account), now=clock(), progress=bar.update)
    typer.echo(f"Read {found.objects} objects of {found.size_bytes:,} bytes.")
    for digest, versions in sorted(found.damaged.items()):
        typer.echo(f"Damaged: {digest} of {', '.join(versions)}")
    if found.damaged:
        raise typer.Exit(2)
