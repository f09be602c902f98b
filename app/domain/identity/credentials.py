"""Credentials: what a caller's authority rests on, and how a transaction reads it again."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class TokenCredential:
    """An API token; the authority ends when the token is revoked or expires."""

    token_id: UUID


@dataclass(frozen=True, slots=True)
class SessionCredential:
    """A session of the pages; the authority ends with it, or with the token or identity behind it.

    A session is opened with an API token or with a federated identity.
    """

    session_id: UUID


@dataclass(frozen=True, slots=True)
class FederatedCredential:
    """A token of a configured issuer; the authority ends with the identity or with the token."""

    identity_id: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ServerCredential:
    """The server process itself, which nobody can deactivate."""


Credential = TokenCredential | SessionCredential | FederatedCredential | ServerCredential
