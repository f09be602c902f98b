"""Limits on the cost of one request, and on the requests of a principal or namespace at a time."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from starlette.types import Scope

from app.domain.artifacts.quotas import DEFAULT_LIMITS
from app.domain.errors import TooManyRequestsError

REQUESTS_PER_PRINCIPAL: Final = 64

_COUNTED: Final = "registry.in_flight"
_URGENT: Final = "is_urgent"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request, which endpoints enforce: sizes in bytes, lifetimes in seconds.

    Attributes:
        weights_bytes: Largest file of weights, pushed or uploaded.
        config_bytes: Largest adapter configuration.
        metadata_bytes: Largest JSON body, and largest JSON part of a push.
        report_bytes: Largest report of an evaluation, without its samples.
        samples_bytes: Largest file of samples, as it is sent.
        presigned_lifetime_s: How long a presigned URL is valid.
    """

    weights_bytes: int
    config_bytes: int
    metadata_bytes: int
    report_bytes: int
    samples_bytes: int
    presigned_lifetime_s: int


def urgent(endpoint: Endpoint) -> Endpoint:
    """Mark an endpoint that a busy namespace may not delay, such as a revocation."""
    setattr(endpoint, _URGENT, True)
    return endpoint


def is_urgent(scope: Scope) -> bool:
    return getattr(scope.get("endpoint"), _URGENT, False)


class InFlight:
    """Counts the requests of each principal, and in each namespace, in progress in this process.

    Without a limit, the slow downloads of one principal could hold every thread and connection.
    Thread-safe: a request that finds its namespace in the database enters it in a thread.

    Attributes:
        own_limits: The limits that quotas set, by namespace; replaced as a whole.
    """

    def __init__(
        self,
        most: int = REQUESTS_PER_PRINCIPAL,
        *,
        most_in_namespace: int = DEFAULT_LIMITS.requests,
    ) -> None:
        self.own_limits: Mapping[str, int] = {}
        self._most = most
        self._most_in_namespace = most_in_namespace
        self._counts: Counter[UUID | str] = Counter()
        self._lock = threading.Lock()

    def enter(self, scope: Scope, principal_id: UUID) -> None:
        """Count a request of a principal until `leave`.

        Raises:
            TooManyRequestsError: The principal has as many requests in progress as it may have.
        """
        self._enter(scope, principal_id, "this principal", self._most)

    def enter_namespace(self, scope: Scope, namespace: str) -> None:
        """Count a request about a namespace until `leave`.

        Raises:
            TooManyRequestsError: The namespace has as many requests in progress as it may have.
        """
        most = self.own_limits.get(namespace, self._most_in_namespace)
        self._enter(scope, namespace, f"the namespace {namespace}", most)

    def in_namespace(self, namespace: str) -> int:
        return self._counts[namespace]

    def set_own_limit(self, namespace: str, limit: int | None) -> None:
        """Apply a limit that was set through this process; the others read it within seconds."""
        others = {name: each for name, each in self.own_limits.items() if name != namespace}
        self.own_limits = others if limit is None else others | {namespace: limit}

    def leave(self, scope: Scope) -> None:
        """End the counting of a request, as far as it was counted."""
        with self._lock:
            for key in scope.pop(_COUNTED, ()):
                self._counts[key] -= 1
                if not self._counts[key]:
                    del self._counts[key]

    def _enter(self, scope: Scope, key: UUID | str, holder: str, most: int) -> None:
        entered: list[UUID | str] = scope.setdefault(_COUNTED, [])
        if key in entered:
            return  # a request that waits authenticates its caller again
        with self._lock:
            if self._counts[key] >= most:
                raise TooManyRequestsError(
                    f"{most} requests of {holder} are in progress; send fewer at a time."
                )
            entered.append(key)
            self._counts[key] += 1


STATE_KEY: Final = "connection_limits"
"""The key of the limits in the state that the application's lifespan yields to the server."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits on the connections of one serving process.

    Attributes:
        connections: Open connections; further ones are refused.
        connections_per_address: Open connections from one client address.
        keep_alive_s: How long a connection may be idle between two requests.
    """

    connections: int = 1000
    connections_per_address: int = 250
    keep_alive_s: int = 75


def limits_in(state: Mapping[str, Any]) -> ConnectionLimits | None:
    """Return the limits in the lifespan's state; None if the lifespan has set none."""
    found: ConnectionLimits | None = state.get(STATE_KEY)
    return found
