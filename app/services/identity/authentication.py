"""Authentication: finding the principal that a bearer token belongs to."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from app.db.federated_identities import callers_of
from app.db.session import Sessions
from app.db.tokens import valid_token
from app.domain.errors import UnauthenticatedError
from app.domain.identity.access import Caller
from app.domain.identity.oidc import Issuer, comparable_claims
from app.domain.identity.tokens import is_token
from app.oidc.issuers import Issuers
from app.services.identity.token_usage import TokenUsage


def authenticate(
    sessions: Sessions, *, token: str, now: datetime, uses: TokenUsage | None = None
) -> Caller:
    """Return the principal that holds an API token; record its use in `uses`.

    Raises:
        UnauthenticatedError: The token is malformed, unknown, revoked or expired.
    """
    found = None
    if is_token(token):
        with sessions() as session:
            found = valid_token(session, token, now)
    if found is None:
        raise UnauthenticatedError("The bearer token is unknown, revoked or expired.")
    if uses is not None:
        uses.note(found, now)
    return found.caller


def authenticate_federated(
    sessions: Sessions, issuers: Issuers, *, token: str, now: datetime
) -> Caller:
    """Return the principal to which the claims of a configured issuer's token are bound.

    Raises:
        UnauthenticatedError: The token is invalid, or its claims are bound to no principal or to
            several.
        UnavailableError: The issuer's keys cannot be fetched.
    """
    issuer, claims = issuers.verified(token, now)
    with sessions() as session:
        return principal_for_claims(session, issuer, claims)


def principal_for_claims(session: Session, issuer: Issuer, claims: Mapping[str, object]) -> Caller:
    """Return the principal to which the verified claims of a token are bound.

    Raises:
        UnauthenticatedError: The claims are bound to no principal or to several.
    """
    found = callers_of(session, issuer.url, issuer.kind, comparable_claims(claims))
    if not found:
        raise UnauthenticatedError(
            f"The token of {issuer.url} is valid, but its claims are bound to no principal; an "
            "admin can bind them with PUT /v1/principals/{principal}/identities."
        )
    if len(found) > 1:
        raise UnauthenticatedError(
            f"The token of {issuer.url} is valid, but its claims match several principals; an "
            "admin must narrow the bindings so that they match one."
        )
    return found[0]
