"""`prefix-registry replay`."""

from typing import Annotated
from uuid import UUID

import typer

from app.cli.registry import the_registry
from app.domain.identity.access import SYSTEM
from app.services.audit.replay import replay
from app.storage.s3 import S3Blobs


def run(
    promotion: Annotated[UUID, typer.Argument(help="The promotion whose decision to make again.")],
    *,
    samples: Annotated[bool, typer.Option(help="Read the stored samples again, too.")] = True,
) -> None:
    with the_registry() as (sessions, account):
        blobs = S3Blobs(account) if samples else None
        found = replay(sessions, promotion_id=promotion, blobs=blobs, caller=SYSTEM)
    stored = found.stored
    typer.echo(f"Decided at {stored['evaluated_at']}: {stored['result']}.")
    for difference in found.differences:
        typer.echo(difference)
    if not found.agrees:
        raise typer.Exit(2)
    findings = f"{len(stored['findings'])} findings on {len(stored['evaluations'])} evaluations"
    typer.echo(f"Made again it comes out the same, {findings}.")
