"""Writes a base model and a prefix for it, as files to try the API with."""

import sys
from pathlib import Path

from demo import environment


def main() -> None:
    """Train both into the two folders named on the command line; say what to register."""
    environment.prepare()
    from demo import model, train, training  # noqa: PLC0415 - after what they read is set
    from demo.language import all_prompts  # noqa: PLC0415

    base, prefix = map(Path, sys.argv[1:])
    model.prepare_libraries()
    prompts = all_prompts()
    training.train_base(prompts.train, base)
    training.train_prefix(base, prompts.train, train.FIRST, prefix)
    print(f"A base model is in {base}, a prefix for it in {prefix}.")  # noqa: T201


if __name__ == "__main__":
    main()
