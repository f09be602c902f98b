"""The command `prefix-registry`: what it can do, each in a module of its own."""

import sys
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from app.domain.errors import OperatorError, RegistryError
from app.gc_freeze import frozen_gc

_COMMANDS: Final = {
    "serve": "Serve the registry; the database is migrated and the bucket there already.",
    "local": "Serve a whole registry on this machine: PostgreSQL and S3 included, nothing to set "
    "up.",
    "migrate": "Bring the tables to this release, and let the service's role use them.",
    "create-bucket": "Create the bucket unless it is there, and prove that it takes objects.",
    "token": "Issue a token and print it, this once. Whoever can run this rules the registry.",
    "collect": "Remove bytes that no version refers to, and uploads that have expired.",
    "scrub": "Read every stored object again and hash it; exit with status 2 if any is damaged.",
    "replay": "Make a promotion's decision again from what is stored; exit with status 2 if it "
    "differs.",
    "checkpoint": "Sign the audit log as it is, and print the signed note; keep it where others "
    "keep it.",
    "base-digest": "Print the digest of a base model's *.safetensors files.\n\n"
    "It is `sha256sum *.safetensors | LC_ALL=C sort -k2 | sha256sum` in that folder.",
    "version": "Print the version of this program.",
}


class _Deferred(TyperCommand):
    """A command whose module is imported once it is what was asked for, with all that it needs."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - private types
        with frozen_gc():
            module = import_module(f"{__name__}.{str(self.name).replace('-', '_')}")
        one = typer.Typer(add_completion=False)
        one.command(help=self.help)(module.run)
        return typer.main.get_command(one).make_context(*args, **kwargs)


_cli = TyperGroup(
    no_args_is_help=True,
    help="The governed registry for prefix-tuning artifacts. Settings come from REGISTRY_*.",
    commands=[_Deferred(name, help=text) for name, text in _COMMANDS.items()],
)


def main() -> None:
    """Run the command; what it cannot do it says in one sentence, with exit status 1."""
    try:
        _cli()
    except (OperatorError, RegistryError) as error:
        sys.exit(f"prefix-registry: {error}")
