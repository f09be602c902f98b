"""Prometheus metrics: requests by endpoint, and damaged objects."""

import os
import time
from http import HTTPStatus
from typing import Final

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Names the folder in which each worker writes its metrics, so that any of them can report all.
SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

DAMAGED_OBJECTS: Final = Counter(
    "registry_damaged_objects", "Downloads of objects whose bytes do not match their digest."
)
_DURATION: Final = Histogram(
    "registry_request_seconds",
    "Time from a request's arrival to the end of its response.",
    ["method", "endpoint", "status"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
)


class MetricsMiddleware:
    """Measures every request, labelled by endpoint: paths would create unlimited labels."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = HTTPStatus.INTERNAL_SERVER_ERROR.value
        start = time.perf_counter()

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        finally:
            duration_s = time.perf_counter() - start
            _DURATION.labels(scope["method"], _endpoint(scope), status).observe(duration_s)


def _endpoint(scope: Scope) -> str:
    """Return the qualified name of the endpoint that handled the request, or `none`."""
    endpoint = scope.get("endpoint")
    if endpoint is None:
        return "none"
    # A mounted application is an instance, which has no qualified name.
    named = endpoint if hasattr(endpoint, "__qualname__") else type(endpoint)
    return f"{named.__module__}.{named.__qualname__}".removeprefix("app.")


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format."""
    if SHARED_FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
