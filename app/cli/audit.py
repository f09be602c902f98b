"""`prefix-registry replay` and `prefix-registry checkpoint`."""

from typing import Annotated
from uuid import UUID

import typer

from app.cli.registry import opened_registry
from app.domain.identity.access import SYSTEM
from app.services.audit import checkpoints
from app.services.audit import replay as decisions
from app.services.transactions import transactions_of_server
from app.settings import settings_from_environment
from app.storage.s3 import S3Blobs


def replay(
    promotion: Annotated[UUID, typer.Argument(help="Id of the promotion to decide again.")],
    *,
    samples: Annotated[bool, typer.Option(help="Also read the stored sample files again.")] = True,
) -> None:
    with opened_registry() as (sessions, account):
        blobs = S3Blobs(account) if samples else None
        replayed = decisions.replay(sessions, promotion_id=promotion, blobs=blobs, caller=SYSTEM)
    stored = replayed.stored
    typer.echo(f"Decided at {stored['evaluated_at']}: {stored['result']}.")
    for difference in replayed.differences:
        typer.echo(difference)
    if not replayed.agrees:
        raise typer.Exit(2)
    findings = f"{len(stored['findings'])} findings on {len(stored['evaluations'])} evaluations"
    typer.echo(f"The replayed decision is the same: {findings}.")


def checkpoint() -> None:
    signer = checkpoints.require_signer(settings_from_environment().signer())
    with opened_registry() as (sessions, _):
        latest, new = checkpoints.take(transactions_of_server(sessions), signer=signer)
    typer.echo(latest.note, nl=False)
    if not new:
        typer.echo("No entry was recorded since this checkpoint was taken.", err=True)
