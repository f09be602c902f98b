"""`prefix-registry collect`, `prefix-registry scrub` and `prefix-registry check-quotas`."""

import math
import sys
from datetime import timedelta
from typing import Annotated, Final

import typer

from app.cli.registry import opened_registry
from app.db.blobs import referenced_size_bytes
from app.domain.errors import OperatorError
from app.services.artifacts import garbage_collection, quotas
from app.services.transactions import transactions_of_server
from app.storage.s3 import S3Blobs
from app.storage.s3_staging import S3Staging

_LONGEST_GRACE_H: Final = 10 * 366 * 24
_GRACE_HOURS: Final = garbage_collection.GRACE / timedelta(hours=1)


def collect(
    *,
    grace_hours: Annotated[
        float,
        typer.Option(min=0, max=_LONGEST_GRACE_H, help="Keep objects younger than this."),
    ] = _GRACE_HOURS,
    delete: Annotated[
        bool, typer.Option(help="Remove the objects; without it, only report.")
    ] = False,
) -> None:
    if math.isnan(grace_hours):
        raise OperatorError("--grace-hours must be a number of hours, such as 24.")
    with opened_registry() as (sessions, account):
        collected = garbage_collection.collect(
            sessions,
            S3Blobs(account),
            S3Staging(account),
            grace=timedelta(hours=grace_hours),
            dry_run=not delete,
        )
    verb = "Removed" if delete else "Would remove"
    typer.echo(
        f"{verb} {collected.objects} objects of {collected.size_bytes:,} bytes and "
        f"{collected.uploads} expired uploads."
    )


def scrub() -> None:
    with opened_registry() as (sessions, account):
        with sessions() as session:
            total = referenced_size_bytes(session)
        with typer.progressbar(length=total, label="Hashing", file=sys.stderr) as progress:
            scrubbed = garbage_collection.scrub(
                sessions, S3Blobs(account), progress=progress.update
            )
    typer.echo(f"Read {scrubbed.objects} objects of {scrubbed.size_bytes:,} bytes.")
    for digest, versions in sorted(scrubbed.damaged.items()):
        typer.echo(f"Damaged: {digest} of {', '.join(versions)}")
    if scrubbed.damaged:
        raise typer.Exit(2)


def check_quotas(
    *,
    repair: Annotated[
        bool, typer.Option(help="Correct the counters, with an entry on the audit log.")
    ] = False,
) -> None:
    with opened_registry() as (sessions, _):
        found = quotas.miscounts(transactions_of_server(sessions), repair=repair)
    for each in found:
        typer.echo(
            f"{each.namespace}: counted {each.counted.stored_bytes:,} bytes of "
            f"{each.counted.versions:,} versions, recorded {each.recorded.stored_bytes:,} of "
            f"{each.recorded.versions:,}."
        )
    if found and not repair:
        raise typer.Exit(2)
    typer.echo("The counters were corrected." if found else "All counters agree with the rows.")
