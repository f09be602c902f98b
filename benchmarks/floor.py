"""The framework's floor: resolve's own answer from a bare FastAPI route, on the same server."""

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

_ANSWER = "FLOOR_ANSWER"


@contextmanager
def floor(answer: dict[str, Any], resolving: Request, folder: Path) -> Iterator["Floor"]:
    """Serve `answer` to the very request that resolves."""
    url = free_url()
    file = folder / "floor.json"
    file.write_text(json.dumps(answer))
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
    """A server that can do nothing but answer."""

    name = "FastAPI floor"

    def __init__(self, server: Server, client: Client, resolving: Request) -> None:
        self.server, self.reader, self.resolving = server, client, resolving


def main() -> None:
    port, file = sys.argv[1:]
    answer = json.loads(Path(file).read_text())
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> None:
        """Answer, to say that the server is ready."""

    @app.get("/v1/resolve/{namespace}/{name}")
    async def resolve(namespace: str, name: str) -> ResolutionOut:
        return ResolutionOut.model_validate(answer | {"prefix": f"{namespace}/{name}"})

    stop_cleanly_on_signals()
    with listening_socket("127.0.0.1", int(port)) as bound:
        serve(bound, workers=1, app=lambda: app, announce=lambda: None)


if __name__ == "__main__":
    main()
