"""Limits on the cost of one request, and on the requests of one principal at a time."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from starlette.types import Scope

from app.domain.errors import TooManyRequestsError

REQUESTS_PER_PRINCIPAL: Final = 64

_PRINCIPAL: Final = "registry.in_flight"


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


class InFlight:
    """Counts the requests of each principal that are in progress in this process.

    Without a limit, the slow downloads of one principal could hold every thread and connection.
    All methods run on the event loop, so no lock is needed.
    """

    def __init__(self, most: int = REQUESTS_PER_PRINCIPAL) -> None:
        self._most = most
        self._counts: Counter[UUID] = Counter()

    def enter(self, scope: Scope, principal_id: UUID) -> None:
        """Count a request until `leave`.

        Raises:
            TooManyRequestsError: The principal has as many requests in progress as it may have.
        """
        if self._counts[principal_id] >= self._most:
            raise TooManyRequestsError(
                f"{self._most} requests of this principal are in progress; send fewer at a time."
            )
        scope[_PRINCIPAL] = principal_id
        self._counts[principal_id] += 1

    def leave(self, scope: Scope) -> None:
        """End the counting of a request, if it was counted."""
        principal_id = scope.pop(_PRINCIPAL, None)
        if principal_id is not None:
            self._counts[principal_id] -= 1
            if not self._counts[principal_id]:
                del self._counts[principal_id]


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
