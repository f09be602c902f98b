"""Options that more than one command takes."""

from typing import Annotated

import typer

Port = Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes that serve.")]
