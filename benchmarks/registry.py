"""This registry as in production: every request is authenticated and authorised."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import httpx2

from app.local.mode import Stores, prepare, running_stores
from benchmarks.artifacts import ARCHITECTURE, BOUNDARY, Artifact, an_artifact, multipart
from benchmarks.driver import Client, Request
from benchmarks.processes import Server, free_url, running
from demo.server import PROGRAM

BASE: Final = f"sha256:{'b' * 64}"
NAME: Final = "bench/prefix"
PATH: Final = f"/v1/prefixes/{NAME}"
PERSONAS: Final = ("novice", "expert", "upset", "brief", "formal")
LOCALES: Final = ("en", "de", "fr", "es", "it", "pl", "tr", "ja")  # 5 x 8 are 40 results
SMALL_MB: Final = 0.3  # one virtual token, where the number of versions matters and not their size

_NAMES: Final = {1: "registry, 1 worker", 2: "registry, 2 workers"}
_MULTIPART: Final = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass(frozen=True, slots=True)
class Installation:
    """The stores of a registry, and a token for each of its initial principals."""

    stores: Stores
    tokens: dict[str, str]
    folder: Path


@contextmanager
def installation(folder: Path) -> Iterator[Installation]:
    """Run PostgreSQL and S3 and migrate the tables, as local mode does."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # PostgreSQL's unprivileged user must be able to enter
    with running_stores(folder) as stores:
        yield Installation(stores, prepare(stores, {}), folder)


@contextmanager
def served(installed: Installation, *, workers: int = 1) -> Iterator["Registry"]:
    """Serve an installation; several servers may run at once."""
    url = free_url()
    port = url.rpartition(":")[2]
    with (
        ExitStack() as stack,
        running(
            [PROGRAM, "serve", "--port", port, "--workers", str(workers)],
            url=url,
            path="/readyz",
            log=installed.folder / f"serve-{port}.log",
            environment=installed.stores.environment,
        ) as server,
    ):
        registry = Registry(_NAMES[workers], server, installed.tokens)
        stack.callback(registry.close)
        yield registry


@dataclass
class Registry:
    """Operations on a running registry, each by the principal with the role."""

    name: str
    server: Server
    tokens: dict[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        self._clients: dict[str, Client] = {}

    def by(self, principal: str) -> Client:
        if principal not in self._clients:
            headers = {"Authorization": f"Bearer {self.tokens[principal]}"}
            self._clients[principal] = Client(self.server.url, headers)
        return self._clients[principal]

    def browser_of(self, principal: str) -> Client:
        """Return a client with the session cookie of a principal who signed in to the pages."""
        if (name := f"{principal} at the pages") not in self._clients:
            with httpx2.Client(base_url=self.server.url, follow_redirects=True) as browser:
                form = browser.get("/admin/sign-in").text
                shown = form.partition('name="form_token" value="')[2].partition('"')[0]
                fields = {"token": self.tokens[principal], "form_token": shown}
                browser.post("/admin/sign-in", data=fields).raise_for_status()
                cookies = "; ".join(f"{key}={value}" for key, value in browser.cookies.items())
            self._clients[name] = Client(self.server.url, {"Cookie": cookies})
        return self._clients[name]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    @property
    def reader(self) -> Client:
        return self.by("reader")

    @property
    def lister(self) -> Client:
        return self.by("publisher")

    @cached_property
    def resolving(self) -> Request:
        return self.reader.request("GET", f"/v1/resolve/{NAME}")

    @cached_property
    def listing(self) -> Request:
        return self.lister.request("GET", f"{PATH}/versions?limit=50")

    def populate(self, *, versions: int) -> None:
        """Create a prefix with this many versions; a channel serves the last."""
        base = {"name": "base", "digest": BASE, "parameters": 8_000_000_000}
        admin, publisher = self.by("admin"), self.by("publisher")
        body = base | {"architecture": ARCHITECTURE}
        publisher.call("POST", "/v1/base-models", json_body=body)
        namespace, _, name = NAME.partition("/")
        prefix = {"namespace": namespace, "name": name, "owner": "admin"}
        publisher.call("POST", "/v1/prefixes", json_body=prefix)
        admin.call("POST", "/v1/suites", json_body=SUITE)
        admin.call("POST", "/v1/policies", json_body=POLICY)
        binding = {"policy": POLICY["name"], "policy_version": 1}
        admin.call("PUT", f"{PATH}/channels/production", json_body=binding)
        for _ in range(versions):
            version = self.push(an_artifact(SMALL_MB))
        self.record(version)
        self.release(version)

    def push(self, artifact: Artifact) -> dict[str, Any]:
        described = json.dumps({"base_model": BASE}).encode()
        parts = {"version": described, "config": artifact.config, "weights": artifact.weights}
        client = self.by("publisher")
        found: dict[str, Any] = client.call(
            "POST", f"{PATH}/versions", headers=_MULTIPART, body=multipart(parts)
        )
        return found

    def record(self, version: dict[str, Any]) -> None:
        """Record 40 results of a version."""
        path = f"{PATH}/versions/{version['number']}/evaluations"
        self.by("evaluator").call("POST", path, json_body=report(version["digest"]))

    def release(self, version: dict[str, Any]) -> None:
        """Request a promotion, which evaluates the gate, and approve it, which executes it."""
        self.approve(self.request(version))

    def request(self, version: dict[str, Any]) -> dict[str, Any]:
        body = {"channel": "production", "version": version["number"], "reason": "a benchmark"}
        found: dict[str, Any] = self.by("publisher").call(
            "POST", f"{PATH}/promotions", json_body=body
        )
        return found

    def approve(self, promotion: dict[str, Any]) -> None:
        review = {"verdict": "approve", "comment": "a benchmark"}
        path = f"/v1/promotions/{promotion['id']}/reviews"
        if self.by("approver-1").call("POST", path, json_body=review)["state"] != "executed":
            raise RuntimeError("an approved promotion was not executed")

    def waiting_request(self) -> Request:
        """Return a long-polling request that ends when the channel's allocation changes."""
        etag = self.reader.send(self.resolving).headers["etag"]
        target = f"{self.resolving.target}?wait=30"
        return self.reader.request("GET", target, headers={"If-None-Match": etag})

    def pull(self, version: dict[str, Any]) -> int:
        """Pull the weights through the registry, which checks their digest; return the bytes."""
        path = f"{PATH}/versions/{version['number']}/files/adapter_model.safetensors"
        return self._drained(self.by("publisher"), path)

    def pull_redirected(self, version: dict[str, Any]) -> int:
        """Pull the weights from the URL to which the registry redirects."""
        path = f"{PATH}/versions/{version['number']}/files/adapter_model.safetensors?via=storage"
        client = self.by("publisher")
        response = client.send(client.request("GET", path))
        return fetched(response.headers["location"])

    def journey(self, artifact: Artifact) -> None:
        """Push, record 40 results, request, approve, resolve, download."""
        version = self.push(artifact)
        self.record(version)
        self.release(version)
        found = self.reader.send(self.resolving).json()
        if found["version"] != version["number"]:
            raise RuntimeError("the channel does not serve the released version")
        weights = max(found["files"], key=lambda file: int(file["size_bytes"]))
        fetched(weights["url"])

    def _drained(self, client: Client, path: str) -> int:
        return client.send(client.request("GET", path), keep=False).size_bytes


def fetched(url: str) -> int:
    """Fetch a URL without a token; return the number of bytes."""
    client = Client(url)
    target = "/" + url.split("/", 3)[3]
    try:
        return client.send(client.request("GET", target), keep=False).size_bytes
    finally:
        client.close()


def report(digest: str) -> dict[str, Any]:
    """Return an evaluation of 40 results that the policy accepts."""
    now = datetime.now(UTC).isoformat()  # noqa: TID251 - the evaluator's time
    cells = [(persona, locale) for persona in PERSONAS for locale in LOCALES]
    return {
        "suite": SUITE["name"],
        "suite_version": SUITE["version"],
        "digest": digest,
        "harness": {"name": "bench", "version": "1"},
        "started_at": now,
        "finished_at": now,
        "results": [
            {"metric": "tone", "persona": persona, "locale": locale, "value": 1, "samples": 200}
            for persona, locale in cells
        ],
    }


SUITE: Final[dict[str, Any]] = {
    "name": "bench",
    "version": "1",
    "dataset_digest": f"sha256:{'d' * 64}",
    "personas": list(PERSONAS),
    "locales": list(LOCALES),
    "metrics": [{"name": "tone", "kind": "proportion", "higher_is_better": True}],
}
POLICY: Final[dict[str, Any]] = {
    "name": "bench",
    "approvals": {"required": 1},
    "evidence": {"level": 0},
    "rules": [{"metric": "bench/tone", "min_samples": 100, "at_least": 0.85}],
}
