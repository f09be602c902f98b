"""Local mode as a person runs it: one command, one folder, one file of credentials."""

import json
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx2
import pytest

TIMEOUT_S = 60  # the first request waits in the socket's queue until a worker has started
COMMAND = [sys.executable, "-m", "app.cli", "local"]


@contextmanager
def local_mode(data, *options, ends_by=signal.SIGTERM):
    """Run local mode, yield its credentials once it serves, and require a clean exit."""
    command = [*COMMAND, "--data", str(data), "--port", "0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("Serving http"), line
            printed = [process.stdout.readline() for _ in range(4)]
            credentials = json.loads((data / "credentials.json").read_text())
            yield credentials | {"printed": [line for line in printed if line.strip()]}
        finally:
            process.send_signal(ends_by)
            ended = process.wait(timeout=30)
        assert (ended, "Traceback" in process.stderr.read()) == (0, False)


def get(credentials, path, by, **query):
    headers = {"Authorization": f"Bearer {credentials['tokens'][by]}"}
    return httpx2.get(credentials["url"] + path, headers=headers, params=query, timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def first_start(server_folder):
    """A first start that found a damaged credentials file, and was ended by SIGINT."""
    data = server_folder / "local-mode"
    data.mkdir()
    (data / "credentials.json").write_text("{")
    with local_mode(data, ends_by=signal.SIGINT) as found:
        ready = httpx2.get(found["url"] + "/readyz", timeout=TIMEOUT_S)
        assert ready.status_code == 200, ready.text
        headers = {"Authorization": f"Bearer {found['tokens']['publisher']}"}
        body = {"namespace": "acme", "name": "voice", "owner": "admin"}
        made = httpx2.post(found["url"] + "/v1/prefixes", json=body, headers=headers)
        assert made.status_code == 201
        key = get(found, "/v1/audit/checkpoint/key", "auditor").text
        assert key.startswith("prefix-registry.local/audit+")
    return SimpleNamespace(data=data, tokens=found["tokens"], key=key)


@pytest.fixture(scope="module")
def running(first_start):
    """The next start, with two workers, shared by the tests below."""
    with local_mode(first_start.data, "--workers", "2") as credentials:
        yield credentials


def test_a_start_continues_with_the_same_tokens_and_data(first_start, running):
    assert get(running, "/v1/audit/checkpoint/key", "auditor").text == first_start.key
    assert running["tokens"] == first_start.tokens
    assert get(running, "/v1/prefixes/acme/voice", "publisher").status_code == 200


def test_only_the_owner_may_read_the_secrets(first_start):
    for secret in ("credentials.json", "checkpoint-key.pem"):
        assert (first_start.data / secret).stat().st_mode & 0o777 == 0o600


def test_the_credentials_file_has_the_members_that_clients_use(running):
    assert set(running) == {"url", "database_url", "s3", "tokens", "printed"}
    assert set(running["s3"]) == {"endpoint_url", "access_key", "secret_key", "bucket"}
    assert set(running["tokens"]) == {
        *("admin", "publisher", "evaluator", "approver-1", "approver-2", "reader", "auditor")
    }
    assert running["database_url"].startswith("postgresql+psycopg://")
    chain = get(running, "/v1/audit", "auditor", subject="registry").json()["items"]
    created = [each["facts"] for each in chain if each["action"] == "principal.create"]
    kinds = {facts["principal"]: facts["kind"] for facts in created}
    humans = {name for name, kind in kinds.items() if kind == "human"}
    assert humans == {"admin", "approver-1", "approver-2", "auditor"}
    assert {g["namespace"] for facts in created for g in facts["grants"]} == {"*"}


def test_requests_on_a_persistent_connection_do_not_wait_for_delayed_acknowledgements(running):
    """Without TCP_NODELAY, every request after the first would take 40 ms (uvicorn#3149)."""
    with httpx2.Client(base_url=running["url"], timeout=TIMEOUT_S) as client:
        client.get("/healthz")
        durations = sorted(client.get("/healthz").elapsed.total_seconds() for _ in range(20))
        assert durations[10] < 0.030


@pytest.mark.skipif(shutil.which("curl") is None, reason="the printed commands use curl")
def test_the_printed_commands_work(running):
    outputs = [
        subprocess.run(
            ["sh", "-c", line.replace("curl ", "curl --fail --silent ", 1)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for line in running["printed"]
    ]
    assert '"database":"ok"' in outputs[0]
    assert all('"name":"hello"' in output for output in outputs[1:])
    assert len(outputs) == 3


def test_a_port_in_use_is_reported_in_one_sentence(running, tmp_path):
    port = urlsplit(running["url"]).port
    command = [*COMMAND, "--data", str(tmp_path), "--port", str(port)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert (
        run.stderr
        == f"prefix-registry: Cannot listen on 127.0.0.1:{port}: Address already in use.\n"
    )
