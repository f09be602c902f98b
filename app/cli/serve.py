"""`prefix-registry serve`."""

from typing import Annotated

import typer

from app.cli.options import Port, Workers
from app.cli.registry import require_migrated
from app.server import app_for, listening_socket, serve, stop_cleanly_on_signals, url_of
from app.settings import settings_from_environment
from app.storage.s3 import S3Blobs


def run(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Port = 8080,
    workers: Workers = 1,
) -> None:
    settings = settings_from_environment()
    require_migrated(settings)
    S3Blobs(settings.s3_account).check()
    settings.signer()  # a key that cannot be used is told before anybody is served
    stop_cleanly_on_signals()
    with listening_socket(host, port) as bound:
        serve(
            bound,
            workers=workers,
            app=lambda: app_for(settings),
            announce=lambda: typer.echo(f"Serving {url_of(bound)}"),
        )
