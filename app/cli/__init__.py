"""The command `prefix-registry`: its subcommands, and the modules that hold them."""

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from app import __version__
from app.domain.errors import OperatorError, RegistryError
from app.gc_freeze import frozen_gc


@dataclass(frozen=True, slots=True)
class _Command:
    """A subcommand: `function` is `module:name`, relative to this package."""

    function: str
    help: str
    example: str


_COMMANDS: Final = {
    "serve": _Command(
        "servers:serve",
        "Serve the registry. The database must be migrated.",
        "prefix-registry serve --host 0.0.0.0 --workers 4",
    ),
    "local": _Command(
        "servers:local",
        "Serve a whole registry on this machine, PostgreSQL and S3 server included.",
        "prefix-registry local --data ./data --port 8080",
    ),
    "migrate": _Command(
        "setup:migrate",
        "Migrate the tables to this release and grant the service's role access to them.",
        "REGISTRY_MIGRATION_DATABASE_URL=postgresql://owner@db/registry prefix-registry migrate",
    ),
    "create-bucket": _Command(
        "setup:create_bucket",
        "Create the bucket unless it exists, and check that it accepts objects.",
        "prefix-registry create-bucket",
    ),
    "token": _Command(
        "token:token",
        "Issue a token and print it once. Anyone who can run this command controls the registry.",
        "prefix-registry token alice --bootstrap --grant 'reader:*'",
    ),
    "collect": _Command(
        "storage:collect",
        "Remove objects that no version refers to, and uploads that have expired.",
        "prefix-registry collect --grace-hours 48 --delete",
    ),
    "scrub": _Command(
        "storage:scrub",
        "Read and hash every stored object. Exit with status 2 if any is damaged.",
        "prefix-registry scrub",
    ),
    "check-quotas": _Command(
        "storage:check_quotas",
        "Count the use of every namespace again. Exit with status 2 if a counter differs.",
        "prefix-registry check-quotas --repair",
    ),
    "replay": _Command(
        "audit:replay",
        "Decide a promotion again from the stored evidence. Exit with status 2 if the decision "
        "differs.",
        "prefix-registry replay 0198c2f4-6d1e-7c3a-9f52-0b6a5d8e1c77 --no-samples",
    ),
    "checkpoint": _Command(
        "audit:checkpoint",
        "Sign the current state of the audit log and print the signed note. Keep the note "
        "outside the registry.",
        "prefix-registry checkpoint > checkpoint-$(date +%F).note",
    ),
    "base-digest": _Command(
        "base_digest:base_digest",
        "Print the digest of a base model's *.safetensors files.\n\n"
        "It equals `sha256sum *.safetensors | LC_ALL=C sort -k2 | sha256sum` in that folder.",
        "prefix-registry base-digest ./my-model",
    ),
}


class _LazyCommand(TyperCommand):
    """A subcommand that imports its module, with all that it needs, only when it is called."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - private types
        command = _COMMANDS[str(self.name)]
        module, _, function = command.function.partition(":")
        with frozen_gc():
            run = getattr(import_module(f"{__name__}.{module}"), function)
        single = typer.Typer(add_completion=False)
        single.command(help=self.help, epilog=f"Example: {command.example}")(run)
        return typer.main.get_command(single).make_context(*args, **kwargs)


def _version() -> None:
    typer.echo(__version__)


_cli = TyperGroup(
    no_args_is_help=True,
    help="The governed registry for prefix-tuning artifacts. REGISTRY_* variables configure it.",
    commands=[
        *(_LazyCommand(name, help=command.help) for name, command in _COMMANDS.items()),
        TyperCommand("version", callback=_version, help="Print the version of this program."),
    ],
)


def main() -> None:
    """Run the command. A failure prints one sentence and exits with status 1."""
    try:
        _cli()
    except (OperatorError, RegistryError) as error:
        sys.exit(f"prefix-registry: {error}")
