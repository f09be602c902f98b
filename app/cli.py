"""The command `prefix-registry`."""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from app import __version__
from app.db.blobs import referenced_size_bytes
from app.db.schema import latest_revision, migrate, schema_revision
from app.db.session import Sessions, engine_for, sessions_on
from app.deps import clock
from app.domain.access import EVERYWHERE, SYSTEM, Grant, PrincipalKind, Role
from app.domain.base_models import weights_digest
from app.domain.errors import RegistryError
from app.local.folder import LocalServerError
from app.local.mode import run_local
from app.main import create_app
from app.services import checkpoints
from app.services.bootstrap import ensure_principal, ensure_token, first_admin
from app.services.housekeeping import collect, scrub
from app.services.replay import replay
from app.serving import (
    ListenError,
    listening_socket,
    serve,
    stop_cleanly_on_signals,
    url_of,
)
from app.settings import Settings, SettingsError, settings_from_environment
from app.storage.s3 import S3Account, S3Blobs, prepare_bucket
from app.storage.s3_staging import S3Staging

cli = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The governed registry for prefix-tuning artifacts. Settings come from REGISTRY_*.",
)

Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes that serve.")]


class UnusableError(Exception):
    """What the command needs is not there; the message is one sentence for whoever started it."""


_TOLD = (UnusableError, SettingsError, LocalServerError, ListenError, RegistryError)


def main() -> None:
    """Run the command; what it cannot do it says in one sentence, with exit status 1."""
    try:
        cli()
    except _TOLD as error:
        sys.exit(f"prefix-registry: {error}")
    except SQLAlchemyError as error:
        sys.exit(f"prefix-registry: the database refused: {_first_line(error)}")


@cli.command("serve")
def serve_command(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8080,
    workers: Workers = 1,
) -> None:
    """Serve the registry; the database is migrated and the bucket there already."""
    settings = settings_from_environment()
    _require_migrated(settings)
    S3Blobs(settings.s3_account).check()
    settings.signer()  # a key that cannot be used is told before anybody is served
    stop_cleanly_on_signals()
    with listening_socket(host, port) as bound:
        typer.echo(f"Serving {url_of(bound)}")
        serve(bound, workers=workers, app=lambda: create_app(settings))


@cli.command()
def local(
    data: Annotated[Path, typer.Option(help="Folder that keeps everything.")] = Path("data"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8080,
    workers: Workers = 1,
) -> None:
    """Serve a whole registry on this machine: PostgreSQL and S3 included, nothing to set up."""
    run_local(data.absolute(), port=port, workers=workers, announce=typer.echo)


@cli.command("migrate")
def migrate_command() -> None:
    """Bring the tables to this release, and let the service's role use them."""
    settings = settings_from_environment()
    service_role = make_url(settings.database_url).username
    if service_role is None:
        raise UnusableError("REGISTRY_DATABASE_URL names no user, and rights go to a user.")
    engine = create_engine(settings.migration_database_url or settings.database_url)
    with engine.begin() as connection:
        migrate(connection, service_role=service_role)
    engine.dispose()
    typer.echo(f"The tables are at migration {latest_revision()}.")


@cli.command("create-bucket")
def create_bucket() -> None:
    """Create the bucket unless it is there, and prove that it takes objects."""
    account = settings_from_environment().s3_account
    prepare_bucket(account)
    typer.echo(f"The bucket {account.bucket} takes objects.")


@cli.command()
def token(
    principal: Annotated[str, typer.Argument(help="Who is to hold it; made if missing.")],
    *,
    kind: Annotated[PrincipalKind, typer.Option(help="What to make it.")] = PrincipalKind.HUMAN,
    grant: Annotated[
        list[str] | None, typer.Option(help="ROLE:NAMESPACE for a new principal; repeatable.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it is valid.")] = 30,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Make the first admin; refused if there is one.")
    ] = False,
) -> None:
    """Issue a token and print it, this once. Whoever can run this rules the registry."""
    grants = {_grant(text) for text in grant or []}
    now, lifetime = clock(), timedelta(days=days)
    with _registry() as (sessions, _):
        if bootstrap:
            made = first_admin(sessions, name=principal, grants=grants, lifetime=lifetime, now=now)
            typer.echo(made)
            return
        ensure_principal(sessions, name=principal, kind=kind, grants=grants, now=now)
        typer.echo(
            ensure_token(sessions, principal=principal, known=None, lifetime=lifetime, now=now)
        )


@cli.command("collect")
def collect_command(
    *,
    grace_hours: Annotated[float, typer.Option(min=0, help="Leave younger objects alone.")] = 24,
    delete: Annotated[bool, typer.Option(help="Really remove; without it, only say what.")] = False,
) -> None:
    """Remove bytes that no version refers to, and uploads that have expired."""
    with _registry() as (sessions, account):
        collected = collect(
            sessions,
            S3Blobs(account),
            S3Staging(account),
            grace=timedelta(hours=grace_hours),
            dry_run=not delete,
            now=clock(),
        )
    word = "Removed" if delete else "Would remove"
    typer.echo(
        f"{word} {collected.objects} objects of {collected.size_bytes:,} bytes and "
        f"{collected.uploads} expired uploads."
    )


@cli.command("scrub")
def scrub_command() -> None:
    """Read every stored object again and hash it; exit with status 2 if any is damaged."""
    with _registry() as (sessions, account):
        with sessions() as session:
            total = referenced_size_bytes(session)
        with typer.progressbar(length=total, label="Hashing", file=sys.stderr) as bar:
            found = scrub(sessions, S3Blobs(account), now=clock(), progress=bar.update)
    typer.echo(f"Read {found.objects} objects of {found.size_bytes:,} bytes.")
    for digest, versions in sorted(found.damaged.items()):
        typer.echo(f"Damaged: {digest} of {', '.join(versions)}")
    if found.damaged:
        raise typer.Exit(2)


@cli.command("replay")
def replay_command(
    promotion: Annotated[UUID, typer.Argument(help="The promotion whose decision to make again.")],
    *,
    samples: Annotated[bool, typer.Option(help="Read the stored samples again, too.")] = True,
) -> None:
    """Make a promotion's decision again from what is stored; exit with status 2 if it differs."""
    with _registry() as (sessions, account):
        blobs = S3Blobs(account) if samples else None
        found = replay(sessions, promotion_id=promotion, blobs=blobs, caller=SYSTEM)
    stored = found.stored
    typer.echo(f"Decided at {stored['evaluated_at']}: {stored['result']}.")
    for difference in found.differences:
        typer.echo(difference)
    if not found.agrees:
        raise typer.Exit(2)
    findings = f"{len(stored['findings'])} findings on {len(stored['evaluations'])} evaluations"
    typer.echo(f"Made again it comes out the same, {findings}.")


@cli.command()
def checkpoint() -> None:
    """Sign the audit log as it is, and print the signed note; keep it where others keep it."""
    signer = checkpoints.configured(settings_from_environment().signer())
    with _registry() as (sessions, _):
        taken, new = checkpoints.take(sessions, signer=signer, caller=SYSTEM, now=clock())
    typer.echo(taken.note, nl=False)
    if not new:
        typer.echo("Nothing was recorded since this checkpoint was taken.", err=True)


@cli.command("base-digest")
def base_digest(
    folder: Annotated[Path, typer.Argument(help="A model's folder.", exists=True, file_okay=False)],
) -> None:
    """Print the digest of a base model's *.safetensors files.

    It is `sha256sum *.safetensors | LC_ALL=C sort -k2 | sha256sum` in that folder.
    """
    files = {}
    for path in folder.glob("[!.]*.safetensors"):
        with path.open("rb") as file:
            files[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    if not files:
        raise UnusableError(f"There are no *.safetensors files in {folder}.")
    typer.echo(weights_digest(files))


@cli.command()
def version() -> None:
    """Print the version of this program."""
    typer.echo(__version__)


@contextmanager
def _registry() -> Iterator[tuple[Sessions, S3Account]]:
    """Yield the stores of a registry that is ready to be worked on."""
    settings = settings_from_environment()
    _require_migrated(settings)
    engine = engine_for(settings.database_url, pool_size=1)
    try:
        yield sessions_on(engine), settings.s3_account
    finally:
        engine.dispose()


def _grant(text: str) -> Grant:
    role, separator, namespace = text.partition(":")
    if role not in set(Role) or not separator or not namespace:
        roles = ", ".join(Role)
        message = f"A grant is ROLE:NAMESPACE, such as admin:{EVERYWHERE}; the roles are {roles}."
        raise UnusableError(message)
    return Grant(Role(role), namespace)


def _require_migrated(settings: Settings) -> None:
    engine = engine_for(settings.database_url, pool_size=1)
    url = make_url(settings.database_url)
    where = f"the database {url.database} at {url.host}"
    try:
        with sessions_on(engine)() as session:
            found = schema_revision(session)
    except SQLAlchemyError as error:
        raise UnusableError(f"{where} does not answer: {_first_line(error)}") from error
    finally:
        engine.dispose()
    if found != latest_revision():
        raise UnusableError(
            f"{where} is at migration {found}, and this release needs {latest_revision()}: "
            "run `prefix-registry migrate`."
        )


def _first_line(error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0]


if __name__ == "__main__":
    main()
