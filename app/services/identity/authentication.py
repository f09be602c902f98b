"""Authentication: finding the principal that a bearer token belongs to."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from app.db.authority import read_authority
from app.db.principals import callers_of
from app.db.session import Sessions
from app.db.tokens import ValidToken, valid_token
from app.domain.errors import UnauthenticatedError
from app.domain.identity.access import Caller
from app.domain.identity.oidc import Issuer, comparable_claims, valid_until
from app.domain.identity.tokens import is_token
from app.oidc.issuers import Issuers


def authenticate(sessions: Sessions, *, token: str) -> ValidToken:
    """Return an API token with the principal that holds it.

    Raises:
        UnauthenticatedError: The token is malformed, unknown, revoked or expired.
    """
    found = None
    if is_token(token):
        with sessions() as session:
            found = valid_token(session, token)
    if found is None:
        raise UnauthenticatedError("The bearer token is unknown, revoked or expired.")
    return found


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


def require_still_valid(session: Session, caller: Caller) -> Caller:
    """Return the authenticated caller of a request as it is now.

    Raises:
        UnauthenticatedError: The credential was revoked or expired, or its principal deactivated.
    """
    authority = read_authority(session, caller)
    if authority is None:
        raise UnauthenticatedError("The credential was revoked or expired in the meantime.")
    return authority.caller


def principal_for_claims(session: Session, issuer: Issuer, claims: Mapping[str, object]) -> Caller:
    """Return the principal to which the verified claims of a token are bound.

    Raises:
        UnauthenticatedError: The claims are bound to no principal or to several.
    """
    found = callers_of(
        session,
        issuer.url,
        issuer.kind,
        comparable_claims(claims),
        valid_until=valid_until(claims, issuer),
    )
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
