"""Local mode as a person runs it: one command, one folder, one file of credentials."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx2
import pytest

PATIENCE_S = 60  # the first request waits in the socket's queue until a worker has started
COMMAND = [sys.executable, "-m", "app.cli", "local"]


@contextmanager
def local_mode(data, *options, ends_with=0):
    """Run local mode until it serves; yield its credentials; stop it by SIGTERM."""
    command = [*COMMAND, "--data", str(data), "--port", "0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("Serving http"), line
            yield json.loads((data / "credentials.json").read_text())
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == ends_with


@pytest.fixture
def data(server_folder, request):
    return server_folder / re.sub(r"\W", "-", request.node.name)


def ask(credentials, path, by, **query):
    headers = {"Authorization": f"Bearer {credentials['tokens'][by]}"}
    return httpx2.get(credentials["url"] + path, headers=headers, params=query, timeout=PATIENCE_S)


def test_local_mode_serves_and_continues_with_the_same_tokens_and_data(data):
    with local_mode(data) as first:
        ready = httpx2.get(first["url"] + "/readyz", timeout=PATIENCE_S)
        assert ready.json() == {"database": "ok", "storage": "ok", "migrations": "ok"}
        headers = {"Authorization": f"Bearer {first['tokens']['publisher']}"}
        body = {"namespace": "acme", "name": "voice", "owner": "admin"}
        made = httpx2.post(
            first["url"] + "/v1/prefixes", json=body, headers=headers, timeout=PATIENCE_S
        )
        assert made.status_code == 201
        key = ask(first, "/v1/audit/checkpoint/key", "auditor").text
        assert key.startswith("prefix-registry.local/audit+")
    for secret in ("credentials.json", "checkpoint-key.pem"):
        assert (data / secret).stat().st_mode & 0o777 == 0o600
    with local_mode(data) as second:
        assert ask(second, "/v1/audit/checkpoint/key", "auditor").text == key
        assert second["tokens"] == first["tokens"]
        assert ask(second, "/v1/prefixes/acme/voice", "publisher").status_code == 200


def test_the_credentials_file_holds_what_clients_rely_on(data):
    with local_mode(data, "--workers", "2") as credentials:
        assert set(credentials) == {"url", "database_url", "s3", "tokens"}
        assert set(credentials["s3"]) == {"endpoint_url", "access_key", "secret_key", "bucket"}
        assert set(credentials["tokens"]) == {
            *("admin", "publisher", "evaluator", "approver-1", "approver-2", "reader", "auditor")
        }
        assert credentials["database_url"].startswith("postgresql+psycopg://")
        chain = ask(credentials, "/v1/audit", "auditor", subject="registry").json()["items"]
        created = [each["facts"] for each in chain if each["action"] == "principal.create"]
        kinds = {facts["principal"]: facts["kind"] for facts in created}
        humans = {name for name, kind in kinds.items() if kind == "human"}
        assert humans == {"admin", "approver-1", "approver-2", "auditor"}
        assert {g["namespace"] for facts in created for g in facts["grants"]} == {"*"}


def test_requests_on_a_kept_connection_do_not_wait_for_delayed_acknowledgements(data):
    """Without TCP_NODELAY each but the first would take 40 ms (uvicorn#3149)."""
    with (
        local_mode(data, "--workers", "2") as credentials,
        httpx2.Client(base_url=credentials["url"], timeout=PATIENCE_S) as client,
    ):
        client.get("/healthz")
        durations = sorted(client.get("/healthz").elapsed.total_seconds() for _ in range(20))
        assert durations[10] < 0.030


@pytest.mark.skipif(shutil.which("curl") is None, reason="the lines are curl's")
def test_the_lines_that_it_prints_work_as_they_are(data):
    command = [*COMMAND, "--data", str(data), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        printed = [process.stdout.readline() for _ in range(5)]
        lines = [line for line in printed if line.startswith("curl ")]
        answers = [
            subprocess.run(
                ["sh", "-c", line.replace("curl ", "curl --fail --silent --retry 5 ", 1)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            for line in lines
        ]
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert '"database":"ok"' in answers[0]
    assert all('"name":"hello"' in answer for answer in answers[1:3])


def test_a_port_in_use_is_told_in_one_sentence(data):
    with local_mode(data) as credentials:
        port = urlsplit(credentials["url"]).port
        other = data.with_name("other")
        command = [*COMMAND, "--data", str(other), "--port", str(port)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert (
        run.stderr
        == f"prefix-registry: 127.0.0.1:{port} cannot be listened on: Address already in use.\n"
    )


def test_an_interrupt_ends_it_without_a_trace(data):
    command = [*COMMAND, "--data", str(data), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert "Traceback" not in process.stderr.read()


def test_a_broken_credentials_file_gets_new_tokens(data):
    with local_mode(data) as first:
        pass
    (data / "credentials.json").write_text("{")
    with local_mode(data) as second:
        assert second["tokens"]["admin"] != first["tokens"]["admin"]
        assert ask(second, "/v1/prefixes", "admin").status_code == 200
