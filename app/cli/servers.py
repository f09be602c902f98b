"""`prefix-registry serve` and `prefix-registry local`."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.registry import database_errors_reported, require_migrated
from app.server import app_for, listening_socket, stop_cleanly_on_signals, url_of
from app.server import serve as serve_on
from app.settings import settings_from_environment

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Number of serving processes.")]


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Port = 8080,
    workers: Workers = 1,
) -> None:
    settings = settings_from_environment()
    require_migrated(settings)
    settings.signer()  # an unusable key stops the start, before the first request
    stop_cleanly_on_signals()
    with listening_socket(host, port) as bound:
        serve_on(
            bound,
            workers=workers,
            app=lambda: app_for(settings),
            drain_s=settings.drain_s,
            announce=lambda: typer.echo(f"Serving {url_of(bound)}"),
        )


def local(
    data: Annotated[Path, typer.Option(help="Folder that holds all data.")] = Path("data"),
    port: Port = 8080,
    workers: Workers = 1,
) -> None:
    # `serve` must not import what only this needs: the embedded servers' wheels.
    from app.local.mode import run_local  # noqa: PLC0415

    with database_errors_reported():
        run_local(data.absolute(), port=port, workers=workers, announce=typer.echo)
