"""`prefix-registry base-digest`."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from app.domain.artifacts.weights_digest import weights_digest
from app.domain.errors import OperatorError


def base_digest(
    folder: Annotated[
        Path, typer.Argument(help="Folder of the model.", exists=True, file_okay=False)
    ],
) -> None:
    files = {}
    for path in folder.glob("[!.]*.safetensors"):
        with path.open("rb") as file:
            files[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    if not files:
        raise OperatorError(f"The folder {folder} holds no *.safetensors file.")
    typer.echo(weights_digest(files))
