"""Limits on connections that settings choose, and their way to each serving process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

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
