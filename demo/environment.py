"""The environment variables that the demo's libraries read when they are imported."""

import os
from typing import Final

_VARIABLES: Final = {
    # Models come from folders, and messages of the libraries are not about the registry.
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def prepare() -> None:
    """Set the missing variables; call this before PEFT and transformers are imported.

    Importing the package must not do so: a test or a benchmark that imports one of its modules
    would take its own Hugging Face clients offline.
    """
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
