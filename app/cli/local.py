"""`prefix-registry local`."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import Port, Workers
from app.cli.registry import database_refusals_told
from app.local.mode import run_local


def run(
    data: Annotated[Path, typer.Option(help="Folder that keeps everything.")] = Path("data"),
    port: Port = 8080,
    workers: Workers = 1,
) -> None:
    with database_refusals_told():
        run_local(data.absolute(), port=port, workers=workers, announce=typer.echo)
