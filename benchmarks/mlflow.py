"""MLflow's tracking server from PyPI, in a separate environment, on stores of the same kind."""

import base64
import hashlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg
from sqlalchemy import make_url

from app.local.mode import Stores
from benchmarks.artifacts import Artifact, an_artifact
from benchmarks.driver import BenchmarkError, Client, Request
from benchmarks.processes import Server, free_url, running

_HERE: Final = Path(__file__).parent
_CONSTRAINTS: Final = _HERE / "mlflow-constraints.txt"
_API: Final = "/api/2.0/mlflow"
_FILES: Final = "/api/2.0/mlflow-artifacts/artifacts"
_ADMIN: Final = "admin"
_USER: Final = "bench"
_PASSWORD: Final = secrets.token_hex(12)
_ATTEMPTS: Final = 20
_RESULTS: Final = 40


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run MLflow: as shipped, or with the trap of uvicorn#3149 removed."""

    name: str
    auth: bool
    trap: bool


VARIANTS: Final = (
    Variant("MLflow", auth=False, trap=True),
    Variant("MLflow, no trap", auth=False, trap=False),
    Variant("MLflow auth", auth=True, trap=True),
    Variant("MLflow auth, no trap", auth=True, trap=False),
)


def environment() -> Path:
    """Create MLflow's virtual environment unless it exists; return its programs' folder.

    Raises:
        BenchmarkError: The installation failed.
    """
    pins = _CONSTRAINTS.read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "prefix-registry" / f"mlflow-{hashlib.sha256(pins).hexdigest()[:12]}"
    ready = folder / "ready"
    if not ready.exists():
        print(f"Installing MLflow into {folder}, once.", flush=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        packages = ["--constraint", str(_CONSTRAINTS), "mlflow[auth]", "boto3", "psycopg2-binary"]
        for command in ([sys.executable, "-m", "venv", str(folder)], [*pip, *packages]):
            done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
            if done.returncode:
                raise BenchmarkError(f"MLflow cannot be installed: {done.stderr[-500:]}")
        ready.touch()
    return folder / "bin"


@contextmanager
def served(stores: Stores, variant: Variant, folder: Path) -> Iterator["Mlflow"]:
    """Run the tracking server with its default of four workers."""
    folder.mkdir(parents=True, exist_ok=True)
    programs = environment()
    url = free_url()
    command = [
        *(str(programs / "mlflow"), "server", "--host", "127.0.0.1"),
        *("--port", url.rpartition(":")[2]),
        *("--backend-store-uri", _database(stores, "mlflow")),
        *("--artifacts-destination", f"s3://{stores.s3.bucket}/mlflow"),
    ]
    settings = {
        "PYTHONPATH": "" if variant.trap else str(_HERE / "nodelay"),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "MLFLOW_S3_ENDPOINT_URL": stores.s3.endpoint_url,
        "AWS_ACCESS_KEY_ID": stores.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": stores.s3.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    if variant.auth:
        command += ["--app-name", "basic-auth"]
        settings |= _auth_settings(stores, variant, folder)
    with running(
        command, url=url, path="/health", log=folder / "server.log", environment=settings
    ) as server:
        mlflow = Mlflow(variant, server, _user(url) if variant.auth else {})
        try:
            yield mlflow
        finally:
            mlflow.client.close()


def _database(stores: Stores, name: str) -> str:
    """Create a database unless it exists; return its URL for MLflow."""
    owner = make_url(stores.postgres.owner_url)
    target = owner.set(drivername="postgresql").render_as_string(hide_password=False)
    exists = suppress(psycopg.errors.DuplicateDatabase)
    with psycopg.connect(target, autocommit=True) as connection, exists:
        connection.execute(f"CREATE DATABASE {name}".encode())
    mine = owner.set(drivername="postgresql+psycopg2", database=name)
    return mine.render_as_string(hide_password=False)


def _auth_settings(stores: Stores, variant: Variant, folder: Path) -> dict[str, str]:
    """Return settings that deny everything by default, as the registry does."""
    lines = [
        "[mlflow]",
        "default_permission = NO_PERMISSIONS",
        f"database_uri = {_database(stores, f'auth_{variant.trap}'.lower())}",
        f"admin_username = {_ADMIN}",
        f"admin_password = {_PASSWORD}",
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
    ]
    file = folder / "auth.ini"
    file.write_text("\n".join(lines))
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(file),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
    }


def _user(url: str) -> dict[str, str]:
    """Create a user without administrator rights unless it exists; return its headers."""
    admin = Client(url, _basic(_ADMIN, _PASSWORD))
    body = {"username": _USER, "password": _PASSWORD}
    for attempt in range(_ATTEMPTS):
        try:
            admin.call("POST", f"{_API}/users/create", json_body=body)
            break
        except BenchmarkError as error:
            if "RESOURCE_ALREADY_EXISTS" in str(error):
                break
            # Four workers race to fill an empty database; the others exit and restart.
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(1)
    admin.close()
    return _basic(_USER, _PASSWORD)


def _basic(name: str, password: str) -> dict[str, str]:
    token = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


class Mlflow:
    """Operations on a running tracking server, over REST as its own client sends them."""

    def __init__(self, variant: Variant, server: Server, headers: dict[str, str]) -> None:
        self.variant = variant
        self.name = variant.name
        self.server = server
        self.client = self.reader = self.lister = Client(server.url, headers)
        self.model = f"bench-{secrets.token_hex(4)}"

    @cached_property
    def resolving(self) -> Request:
        query = f"name={self.model}&alias=production"
        return self.client.request("GET", f"{_API}/registered-models/alias?{query}")

    @cached_property
    def listing(self) -> Request:
        wanted = quote(f"name='{self.model}'")
        path = f"{_API}/model-versions/search?filter={wanted}&max_results=50"
        return self.client.request("GET", path)

    def populate(self, *, versions: int, through: Client | None = None) -> None:
        """Create a model with this many versions; an alias names the first.

        The others only fill a page. A server without basic-auth, `through`, creates them if there
        is one, as authentication takes half a second for each.
        """
        body = {"name": self.model}
        made = self._post("experiments/create", body)
        self._experiment = made["experiment_id"]
        self._post("registered-models/create", body)
        version = self.push(an_artifact(0.3))
        more = {"name": self.model, "source": version["source"], "run_id": version["run_id"]}
        for _ in range(versions - 1):
            path = f"{_API}/model-versions/create"
            (through or self.client).call("POST", path, json_body=more)
        self.release(version)

    def push(self, artifact: Artifact) -> dict[str, Any]:
        """Upload the files through the server's proxy and register a version of them."""
        run = {"experiment_id": self._experiment, "start_time": int(time.perf_counter() * 1000)}
        info = self._post("runs/create", run)["run"]["info"]
        folder = f"{self._experiment}/{info['run_id']}/artifacts/model"
        for name, content in (("config", artifact.config), ("weights", artifact.weights)):
            request = self.client.request("PUT", f"{_FILES}/{folder}/{name}", body=content)
            self.client.send(request)
        version = self._register(info["run_id"], f"{info['artifact_uri']}/model")
        return version | {"folder": folder}

    def record(self, version: dict[str, Any]) -> None:
        """Log 40 metrics, which have no link to the files or to a definition of the metric."""
        moment = int(time.perf_counter() * 1000)
        metrics = [
            {"key": f"tone-{number}", "value": 1.0, "timestamp": moment, "step": 0}
            for number in range(_RESULTS)
        ]
        self._post("runs/log-batch", {"run_id": version["run_id"], "metrics": metrics})

    def release(self, version: dict[str, Any]) -> None:
        """Set the alias; MLflow has no request, gate or approval to measure."""
        body = {"name": self.model, "alias": "production", "version": version["version"]}
        self._post("registered-models/alias", body)

    def pull(self, version: dict[str, Any]) -> int:
        request = self.client.request("GET", f"{_FILES}/{version['folder']}/weights")
        return self.client.send(request, keep=False).size_bytes

    def journey(self, artifact: Artifact) -> None:
        """Push, create a version, log 40 metrics, set the alias, resolve, download."""
        version = self.push(artifact)
        self.record(version)
        self.release(version)
        found = self.client.send(self.resolving).json()["model_version"]
        if found["version"] != version["version"]:
            raise BenchmarkError("the alias does not name the released version")
        self.pull(version)

    def _register(self, run_id: str, source: str) -> dict[str, Any]:
        body = {"name": self.model, "source": source, "run_id": run_id}
        made: dict[str, Any] = self._post("model-versions/create", body)["model_version"]
        return made

    def _post(self, call: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        return self.client.call("POST", f"{_API}/{call}", json_body=body)
