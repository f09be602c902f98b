"""The framework's floor: resolve's response from a bare FastAPI route, on the same server."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from app.api.resolve_cached import ResolutionOut
from app.server import listening_socket, serve, stop_cleanly_on_signals
from benchmarks.driver import Client, Request
from benchmarks.processes import Server, free_url, running


@contextmanager
def floor(document: dict[str, Any], resolving: Request, folder: Path) -> Iterator["Floor"]:
    """Serve `document` in response to the same request that resolves."""
    url = free_url()
    file = folder / "floor.json"
    file.write_text(json.dumps(document))
    command = [sys.executable, "-m", "benchmarks.floor", url.rpartition(":")[2], str(file)]
    with running(
        command,
        url=url,
        path="/healthz",
        log=folder / "floor.log",
        environment={"PYTHONPATH": str(Path(__file__).parents[1])},
    ) as server:
        client = Client(url)
        try:
            yield Floor(server, client, resolving)
        finally:
            client.close()


class Floor:
    """A server that only returns a fixed document."""

    name = "FastAPI floor"

    def __init__(self, server: Server, client: Client, resolving: Request) -> None:
        self.server, self.reader, self.resolving = server, client, resolving


def main() -> None:
    port, file = sys.argv[1:]
    document = json.loads(Path(file).read_text())
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> None:
        """Report that the server is ready."""

    @app.get("/v1/resolve/{namespace}/{name}")
    async def resolve(namespace: str, name: str) -> ResolutionOut:
        return ResolutionOut.model_validate(document | {"prefix": f"{namespace}/{name}"})

    stop_cleanly_on_signals()
    with listening_socket("127.0.0.1", int(port)) as bound:
        serve(bound, workers=1, app=lambda: app, announce=lambda: None)


if __name__ == "__main__":
    main()
