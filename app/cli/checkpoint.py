"""`prefix-registry checkpoint`."""

import typer

from app.cli.registry import the_registry
from app.domain.identity.access import SYSTEM
from app.http.deps import clock
from app.services.audit import checkpoints
from app.settings import settings_from_environment


def run() -> None:
    signer = checkpoints.configured(settings_from_environment().signer())
    with the_registry() as (sessions, _):
        taken, new = checkpoints.take(sessions, signer=signer, caller=SYSTEM, now=clock())
    typer.echo(taken.note, nl=False)
    if not new:
        typer.echo("Nothing was recorded since this checkpoint was taken.", err=True)
