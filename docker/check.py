# ruff: noqa: INP001, S603, T201 - a script that runs the developer's Docker and reports
"""Starts docker-compose.yml, pushes, approves and serves a version on it, and removes it.

Run `make containers` or `python -m docker.check` on a machine with Docker. The check has its own
project, ports and volumes, so it does not touch a registry that already runs.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx2

from tests.support.builders import World, weights

ROOT = Path(__file__).resolve().parents[1]
API = f"http://127.0.0.1:{os.environ.setdefault('API_PORT', '18080')}"
STORE = f"http://127.0.0.1:{os.environ.setdefault('S3_PORT', '19000')}"
os.environ["COMPOSE_PROJECT_NAME"] = f"prefix-registry-check-{os.getpid()}"
OTHERS = ("publisher", "evaluator", "approver-1", "approver-2", "reader")
LIBRARIES = 4  # files of the pages' three libraries: two styles, two scripts
INSIDE = """
import os
from pathlib import Path
for place in ("/", "/opt/registry", "/var/tmp"):
    try:
        Path(place, "probe").touch()
        raise SystemExit(f"{place} can be written to")
    except OSError:
        pass
Path("/tmp/probe").touch()
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(*(status[key].split()[0] for key in ("Uid", "CapBnd", "NoNewPrivs")))
"""
RIGHTS = "10001 0000000000000000 1"


def main() -> None:
    with project(), httpx2.Client(base_url=API, timeout=30) as client:
        up(client)
        report("the pages, with their styles and scripts", passed=has_styles(client))
        tokens = {"admin": a_token("admin", "--bootstrap")}
        tokens |= {name: a_token(name, "--grant", f"{role_of(name)}:*") for name in OTHERS}
        world = World(client, tokens)
        world.a_live_version(seed=7)
        report("a pushed, evaluated and approved version", passed=is_served(world))
        inside = compose("exec", "-T", "api", "python", "-c", INSIDE)
        report(f"only /tmp is writable, and no capabilities: {inside}", passed=inside == RIGHTS)
        compose("restart", "api")
        ready(client)
        report("the same after a restart of the API", passed=is_served(world))
        compose("down")
        up(client)
        report("the same after down and up", passed=is_served(world))


def report(check: str, *, passed: bool) -> None:
    print(f"{'ok' if passed else 'FAILED'}: {check}", flush=True)
    if not passed:
        sys.exit(1)


def has_styles(client: httpx2.Client) -> bool:
    """Whether the page links to each of the libraries, and all linked files exist."""
    response = client.get("/admin/sign-in")
    files = re.findall(r'(?:href|src)="(/admin/static/[^"]+)"', response.text)
    libraries = [file for file in files if "/static/vendor/" in file]
    found = all(client.get(file).status_code == HTTPStatus.OK for file in files)
    return response.status_code == HTTPStatus.OK and len(libraries) == LIBRARIES and found


def is_served(world: World) -> bool:
    """Whether the host can download the pushed bytes from the store by the signed URL."""
    files = world.resolve().json()["files"]
    [url] = [file["url"] for file in files if file["name"] == "adapter_model.safetensors"]
    return bool(url.startswith(STORE) and httpx2.get(url).content == weights(seed=7))


@contextmanager
def project() -> Iterator[None]:
    """Remove the project at the end, volumes included."""
    try:
        yield
    except BaseException:
        print(compose("logs", "--no-color"), file=sys.stderr)
        raise
    finally:
        compose("down", "--volumes")


def up(client: httpx2.Client) -> None:
    compose("up", "-d")
    ready(client)


def ready(client: httpx2.Client) -> None:
    last: object = None
    for _ in range(60):
        try:
            response = client.get("/readyz")
            if response.is_success:
                return
            last = response.text
        except httpx2.TransportError as error:
            last = error
        time.sleep(1)
    sys.exit(f"FAILED: the API is not ready after a minute: {last!r}")


def a_token(name: str, *options: str) -> str:
    return compose("exec", "-T", "api", "prefix-registry", "token", name, *options)


def role_of(name: str) -> str:
    return name.partition("-")[0]


def compose(*arguments: str) -> str:
    """Return the standard output of `docker compose`; its standard error is passed through."""
    command = ("docker", "compose", *arguments)
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
