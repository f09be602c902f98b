"""`prefix-registry version`."""

import typer

from app import __version__


def run() -> None:
    typer.echo(__version__)
